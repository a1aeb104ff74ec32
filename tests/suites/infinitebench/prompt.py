# Made-up prompts in the layout of InfiniteBench's src/prompt.py, with what a reader must pass over. templates = {
import os

gpt4_templates = {
    "passkey": "no" + "thing",
}

yarn_mistral_templates = {  # {"passkey": 1}
    "odd": os.fsdecode(b"}").join(["}", r"\", '}'", f"{os.sep}"], ) if os else {"b": [1, (2, "passkey")]},
    "passkey": "Find.\n\n{context}\n\n{input}\n\n"
    'It\'s',  # noqa: '}'
    'kv_retrieval': ("{context}|" \
                     '{input}'), "longbook_choice_eng": '''{context} Q {question} A {OPTION_A} B {OPTION_B} C {OPTION_C} D {OPTION_D}''',
    "code_debug": """{context}

B. {OPTION_B}""",
    "longbook_qa_eng": "{context}{question}", "longbook_sum_eng": "Sum \xe9 \u00fcp: {context}",
    "longdialogue_qa_eng": "$$MASK$$ {context}",
    "math_find": "{prefix}\n{context}\n{input}",
    "math_calc": "Values of {context}:",
    "code_run": "{func} {context} {func_call} is",
    "number_string": "{context}\n{digits}",
}
