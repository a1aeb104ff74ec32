"""Writes pieces.json: SentencePiece BPE models as a GGUF file holds them, and the ids that SentencePiece gives.

    pip install sentencepiece==0.2.3
    python3 tests/golden/tokenizer/make_pieces.py > tests/golden/tokenizer/pieces.json
    python3 tests/golden/tokenizer/make_pieces.py MODEL TEXTS > …    # of a model file, on so many texts of vocabularies.py

"models": {"prefix": is a space put in front, "pieces": [[text, score, type of token in GGUF]], "ids": [of each text],
"back": [the text of those ids]}.
"""

import io
import json
import pathlib
import random
import sys

import sentencepiece

from strings import ENGLISH, FOREIGN, strings

sys.path.append(str(pathlib.Path(__file__).parents[2] / "peers"))


def train(prefix):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(ENGLISH + FOREIGN), model_writer=out, vocab_size=1000, character_coverage=0.99, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=prefix, max_sentence_length=1 << 20,
        user_defined_symbols=["<turn>"], minloglevel=2, num_threads=1, hard_vocab_limit=False)
    return sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())


def row(model, prefix, texts):
    kind = lambda i: 6 if model.is_byte(i) else 3 if model.is_control(i) else 2 if model.is_unknown(i) else 5 if model.is_unused(i) else \
        4 if model.id_to_piece(i) == "<turn>" else 1
    pieces = [[model.id_to_piece(i), model.get_score(i), kind(i)] for i in range(model.get_piece_size())]
    ids = [model.encode(t) for t in texts]
    return {"prefix": prefix, "pieces": pieces, "ids": ids, "back": [model.decode(i) for i in ids]}


def main():
    if len(sys.argv) > 1:
        from vocabularies import text
        rng = random.Random(3)
        texts = [text(rng) for _ in range(int(sys.argv[2]))]
        texts = [t for t in texts if not any(s in t for s in ("<s>", "</s>", "<unk>", "[INST]"))]
        models = [row(sentencepiece.SentencePieceProcessor(model_file=sys.argv[1]), True, texts)]
    else:
        # A NUL ends a C string; what spells a control or unknown token is that token in GGUF.
        texts = [t for t in strings()[::2] if "\0" not in t and not any(s in t for s in ("<s>", "</s>", "<unk>", "▁"))]
        models = [row(train(prefix), prefix, texts) for prefix in (True, False)]
    print(json.dumps({"texts": texts, "models": models}, ensure_ascii=False, separators=(",", ":")))


main()
