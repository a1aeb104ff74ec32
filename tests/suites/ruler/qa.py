# Made-up words in the layout of RULER's qa.py.
DOCUMENT_PROMPT = "Document {i}:\n{document}"
