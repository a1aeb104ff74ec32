# Made-up prompts in the layout of HELMET's data.py.
def load_qa(dataset, path, demo_path, shots=0):
    if "nq_bad" in dataset:
        user_template = "no {context}"
    else:
        user_template = "Be short.\n\n{demos}{context}\n\nAsked: {question}"
    system_template = "Said:"

    # demo_template = "{gold_doc}"
    demo_template = "{documents}\n\nAsked: {question}\nSaid: {answer}"
    passage_template = "{title}: {text}"


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
