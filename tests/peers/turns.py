"""Several questions on one context against transformers: the tokens of each, and what is answered.

    python3 tests/peers/turns.py [MODEL] [--tokens 1024] [--samples 2] [--turns 2] [--question after|late] [--compress once|each] [--shared]
                           [--kept 400] [--seed 43] [--threads N]

MODEL is a Hugging Face folder (models/frontier-mini/s). `frontier run` asks niah over several turns, dense, and by Knorm, which keeps
some of the prompt's keys once and for all. Here transformers goes on greedily, in fp32, from its own cache: after the prefill each
layer's is dense, or cut to the keys of the smallest norms by hand; all that is read or generated since stays in it, at its true
position. With --compress each every turn begins with an empty cache, which the conversation so far fills, and which is cut then; with
--shared (--turns questions on one prefix; takes --question late) it begins with what the context left, cut once. Later questions are what the model's chat template writes behind the answer; where that answer's text becomes its tokens again,
the conversation tokenised whole must be the same. Of an answer that is another it says how near a tie was: of the first other token the two
likeliest logits, and of all keys that were kept and that were not the two nearest norms; below 1e-4 and 1e-6 of their size another order of
sums decides. Needs torch, transformers 5, and build/frontier. Prints a row for each answer; exits 1 if one differs."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parents[2]
OUTPUT = 100
WORDS = dict(key_groups=2, value_groups=2, group_length=4, introduction="Find the values of keys.", instructions="Write one line for each key.")


def frontier(*arguments):
    return subprocess.run([ROOT / "build/frontier", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


class Reader:
    """A model, what it has read, and its cache, of which the prefill's part may be cut."""

    def __init__(self, model):
        self.model, self.cache, self.read, self.next = model, DynamicCache(config=model.config), 0, None
        self.leads, self.nearest = [], float("inf")

    def take(self, ids):
        with torch.no_grad():
            places = torch.arange(self.read, self.read + len(ids))[None]
            out = self.model(torch.tensor([ids]), position_ids=places, past_key_values=self.cache, use_cache=True)
        self.read += len(ids)
        self.next = int(out.logits[0, -1].argmax())
        first, second = out.logits[0, -1].topk(2).values
        self.lead = float(first - second)  # of the likeliest over the next

    def cut(self, kept):
        for layer in self.cache.layers:
            norms = layer.keys.norm(dim=-1).sort().values
            self.nearest = min(self.nearest, float((norms[..., kept] / norms[..., kept - 1] - 1).min()))
            at = layer.keys.norm(dim=-1).topk(kept, largest=False).indices.sort().values[..., None]  # [1, G, kept, 1]
            layer.keys, layer.values = (t.gather(2, at.expand(-1, -1, -1, t.shape[-1])) for t in (layer.keys, layer.values))

    def answer(self, stops):
        out = []
        while len(out) < OUTPUT and self.next not in stops:
            out.append(self.next)
            self.leads.append(self.lead)
            self.take(out[-1:])
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/frontier-mini/s"))
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--question", choices=["after", "late"], default="after")
    parser.add_argument("--kept", type=int, default=400)
    parser.add_argument("--compress", choices=["once", "each"], default="once")
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--seed", type=int, default=43)
    parser.add_argument("--threads", type=int)
    a = parser.parse_args()
    asked = dict(shared=a.turns) if a.shared else dict(turns=dict(n=a.turns, compress=a.compress))
    if a.threads:
        torch.set_num_threads(a.threads)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    written = lambda talk: tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        config, results = pathlib.Path(folder) / "c.yaml", pathlib.Path(folder) / "c.h5"
        config.write_text(json.dumps(dict(name="c", models=[str(pathlib.Path(a.model).resolve())], lengths=[a.tokens], answer="direct",
                                          tasks=[dict(niah=dict(WORDS, question=a.question, **asked))], samples=a.samples,
                                          methods=dict(decode=[dict(knorm=dict(capacity=a.kept))]), output=OUTPUT, recall=0, picture="none", seed=a.seed)))
        frontier("run", config, "-o", results, *(["-t", a.threads] if a.threads else []))
        for row in map(json.loads, frontier("export", results, "--jsonl").splitlines()):
            shown = json.loads(frontier("show", "--json", config, "-i", row["sample"]))
            given, talk, tokens, asked = json.loads(row["prediction"]), [], [], 0
            anew = a.shared or a.compress == "each"
            late = int(row["late_tokens"] or 0)  # of the first question
            late -= sum(t["tokens"] for t in shown["later"]) if late else 0
            for turn, prompt in enumerate([shown["prompt"]] + [t["prompt"] for t in shown["later"]]):
                if turn and a.shared:
                    prompt, talk, tokens = shown["prompt"][:shown["prompt"].rindex("\n</context>")] + prompt, [], []
                talk.append(dict(role="user", content=prompt))
                text = written(talk)
                ids = encode(text[text.index(given[turn - 1], text.rindex("assistant", 0, text.rindex(prompt))) + len(given[turn - 1]):] if tokens else text)
                if not turn:
                    held = len(ids) - late
                asked += len(ids) - (held if turn and a.shared else 0)
                if anew or not turn:
                    behind = len(ids) - held if a.shared or not turn else len(ids) if a.question == "late" else 0
                    rest = (tokens + ids)[len(tokens + ids) - behind:]
                    reader = Reader(model)
                    reader.take((tokens + ids)[:len(tokens + ids) - behind])
                    if row["decode_method"] != "dense":
                        reader.cut(a.kept)
                else:
                    rest = ids
                for token in rest:
                    reader.take([token])
                tokens += ids
                if encode(text)[:len(tokens)] != tokens and encode(tokenizer.decode(tokens)) == tokens:
                    sys.exit(f"sample {row['sample']}, turn {turn + 1}: the conversation tokenised whole is another")
                out = reader.answer(stops)
                tokens += out
                same = tokenizer.decode(out, skip_special_tokens=True) == given[turn]
                wrong += not same
                if not same:
                    theirs = encode(given[turn])
                    k = next((i for i, (x, y) in enumerate(zip(out, theirs)) if x != y), min(len(out), len(theirs)))
                    print(f"  first other token: {k} of {len(out)}, its logit leads by {([*reader.leads, reader.lead])[k]:.2e}; nearest norms of a kept and a cut key "
                          f"differ by {reader.nearest:.1e} of their size")
                print(f"sample {row['sample']} {row['decode_method']:6} turn {turn + 1}: {reader.read - len(out):5} tokens before it, {len(out)} of answer, "
                      f"score {json.loads(row['turn_scores'])[turn]:.2f}, {'equal' if same else 'other'}", flush=True)
                talk.append(dict(role="assistant", content=given[turn]))
            wrong += asked != row["input_tokens"]
    print(f"{wrong} differ")
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    main()
