# Made-up prompts in the layout of SCBench's scbench/eval_utils.py.
multiturn_templates = {"scbench_kv": "Find it.\n\n{context}\n\n{input}"}
multiturn_templates_scdq = {
    "scbench_kv": "Find.\n\n{context}",  # noqa
    "scbench_choice_eng": (
        "Read.\n\n{context}",
        "Q {question}",
    ),
    "scbench_many_shot": "{context}",
    "scbench_vt": "{context}",
}
multiturn_follow_up_templates_in_chat_tempate = {
    "scbench_kv": "{input}",
    "scbench_choice_eng": "Q {question}\nA. {OPTION_A}\nB. {OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}\n\nIt is",
    "scbench_many_shot": "{input}",
    "scbench_vt": "{input}",
}
