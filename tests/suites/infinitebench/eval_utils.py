# In the layout of InfiniteBench's src/eval_utils.py.
def create_prompt(template, target_number):
    if template:
        prefix = f"Which is {target_number} of it?"
        return template.format(prefix=prefix)
