# Made-up prompts in the layout of BABILong's babilong/prompts.py.
TASK_TEMPLATE = '{instruction}\n\n{examples}\n\n{post_prompt}'
USER_TEMPLATE = '<context>\n{context}\n</context>\n\nQuestion: {question}'
DEFAULT_TEMPLATE = f'{TASK_TEMPLATE}\n\n{USER_TEMPLATE}'

DEFAULT_PROMPTS = {
    'qa1': {
        'instruction': 'Read.',
    },
    'qa8': {
        'instruction':
            'Read '
            '{it}.',
        'examples':
            '<example>\n'
            'A.\n'
            '</example>',
        'post_prompt': 'Be short.'
    },
}
