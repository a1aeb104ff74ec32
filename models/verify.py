"""Called by `frontier verify` with a checkpoint and texts: the ids that Python's transformers makes of the first as a user's
message, through the chat template, and of the others as they stand. Prints JSON; exits with 3 where transformers is not
installed, so that nothing depends on it.

A folder's tokenizer.json is read as it stands. AutoTokenizer may build a tokenizer of the model_type's class instead, with
that class's rules: `auto` says which, if its ids are others."""
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    import transformers
except ImportError:
    sys.exit(3)


def ids_of(tokenizer, user, texts):
    prompt = None
    if tokenizer.chat_template:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": user}], add_generation_prompt=True, tokenize=True,
                                               return_dict=False)
    return dict(prompt=prompt, texts=[tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts])


def main(path, user, *texts):
    if path.endswith(".gguf"):
        auto = transformers.AutoTokenizer.from_pretrained(os.path.dirname(path) or ".", gguf_file=os.path.basename(path))
        ids, other = ids_of(auto, user, texts), None
    else:
        auto = transformers.AutoTokenizer.from_pretrained(path)
        ids = ids_of(transformers.PreTrainedTokenizerFast.from_pretrained(path), user, texts)
        other = type(auto).__name__ if ids_of(auto, user, texts) != ids else None
    print(json.dumps(dict(ids, version=transformers.__version__, auto=other)))


main(*sys.argv[1:])
