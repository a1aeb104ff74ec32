# Made-up words in the layout of RULER's scripts/data/synthetic/constants.py.
TASKS = {
    'niah': {
        'tokens_to_generate': 128,
        'template': """Some odd {type_needle_v} are kept here. I ask for the {type_needle_v}.\n{context}\nWhat are all the odd {type_needle_v} of {query}?""",
        'answer_prefix': """ The odd {type_needle_v} of {query} are"""
    },

    'variable_tracking': {
        'tokens_to_generate': 30,
        'template': """Follow them.\n\n{context}\nWhich have {query}?""",
        'answer_prefix': """ Said: {num_v} have {query}: """
    },

    'common_words_extraction': {
        'tokens_to_generate': 120,
        'template': """A list.\n{context}\nWhich 10 are many?""",
        'answer_prefix': """ Said: these 10:"""
    },

    'freq_words_extraction' : {
        'tokens_to_generate': 50,
        'template': """Coded: {context}\nWhich three, without '....'?""",
        'answer_prefix': """ Said: these three:"""
    },

    'qa': {
        'tokens_to_generate': 32,
        'template': """Be short.\n\n{context}\n\nBe short.\n\nAsked: {query}""",
        'answer_prefix': """ Said:""",
    },
}
