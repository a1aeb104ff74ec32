# Made-up prompts in the layout of HELMET's data.py.
def load_qa(dataset):
    user_template = "no {context}"
    system_template = "No:"


def load_json_kv(path, shots):
    user_template = "{context}\n\nFind.\n\n{demos}Key: {question}"
    system_template = "Value:"
    demo_template = "Key: {key}\nValue:{value}"


def load_ruler(dataset):
    user_template = "{context}\n\n{question}"
    system_template = "Answer:"
    if "niah_mv" in dataset:
        user_template = "Keep {type_needle_v}.\n{context}\nAll {type_needle_v} for {query}?"
        system_template = "The {type_needle_v} for {query} are"
    elif "niah" in dataset:
        user_template = "Keep one of {type_needle_v}.\n{context}\nWhich for {query}?"
        system_template = "For {query} it is"
