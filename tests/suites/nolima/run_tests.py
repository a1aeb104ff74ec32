# Made-up, in the layout of NoLiMa's evaluation/run_tests.py.
DEFAULT_TASK_TEMPLATE = "Read this:\n\n{haystack}\n\nNow say.\n\nQuestion: {question}\n\nOne name."
