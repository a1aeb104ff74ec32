"""Several turns against transformers: the tokens of a conversation, and what is answered in each turn.

    python3 tests/peers/turns.py [MODEL] [--tokens 1024] [--samples 2] [--turns 2] [--question after|late]

MODEL is a Hugging Face folder (models/frontier-mini/s). `frontier run` asks niah over several turns, dense, and by Knorm, which keeps
some of the prompt's keys once and for all. Here the conversation is rendered whole by the model's chat template, with the answers that
were given, and tokenised whole, at each turn; answers are greedy, by transformers in fp32. Knorm is a mask for each layer and head: of
the rows that were prefilled those of the smallest key norms stay for the rows that come after, and all of these stay. Needs torch,
transformers 5, and build/frontier. Prints a row for each answer; exits 1 if one differs."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parents[2]
OUTPUT, KEPT = 100, 400
WORDS = dict(key_groups=2, value_groups=2, group_length=4, introduction="Find the values of keys.", instructions="Write one line for each key.")


def frontier(*arguments):
    return subprocess.run([ROOT / "build/frontier", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def keep_by_norm(model):
    """From then on rows >= kept["prefilled"] see the keys of the smallest norms before them alone; None: everything."""
    kept, module = {"prefilled": None}, sys.modules[type(model).__module__]
    plain = module.eager_attention_forward

    def masked(of, query, key, value, attention_mask, **how):
        n, rows = query.shape[2], kept["prefilled"]
        mask = torch.full((1, query.shape[1], n, n), float("-inf")).triu(1)
        if rows is not None:
            norms = key[0, :, :rows].float().norm(dim=-1)  # [G, rows]
            gone = torch.ones_like(norms, dtype=torch.bool).scatter_(1, norms.topk(KEPT, largest=False).indices, False)
            gone = gone.repeat_interleave(query.shape[1] // key.shape[1], 0)
            mask[0, :, rows:, :rows] = mask[0, :, rows:, :rows].masked_fill(gone[:, None], float("-inf"))
        return plain(of, query, key, value, mask, **how)

    module.eager_attention_forward = masked
    return kept


def answer(model, ids, stops):
    """Greedy tokens behind ids, without the stop token. All is computed anew for each token."""
    out = []
    while len(out) < OUTPUT:
        with torch.no_grad():
            token = int(model(torch.tensor([ids + out]), use_cache=False, logits_to_keep=1).logits[0, -1].argmax())
        if token in stops:
            break
        out.append(token)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/frontier-mini/s"))
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--question", choices=["after", "late"], default="after")
    a = parser.parse_args()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32, attn_implementation="eager").eval()
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    kept, wrong = keep_by_norm(model), 0
    with tempfile.TemporaryDirectory() as folder:
        config, results = pathlib.Path(folder) / "c.yaml", pathlib.Path(folder) / "c.h5"
        config.write_text(json.dumps(dict(name="c", models=[str(pathlib.Path(a.model).resolve())], lengths=[a.tokens], answer="direct",
                                          tasks=[dict(niah=dict(WORDS, question=a.question, turns=a.turns))], samples=a.samples,
                                          methods=dict(decode=[dict(knorm=dict(capacity=KEPT))]), output=OUTPUT, recall=0, picture="none")))
        frontier("run", config, "-o", results)
        rows = [json.loads(line) for line in frontier("export", results, "--jsonl").splitlines()]
        for row in rows:
            shown = json.loads(frontier("show", "--json", config, "-i", row["sample"]))
            given, talk = json.loads(row["prediction"]), []
            first = shown["tokens"]
            late = int(row["late_tokens"]) - sum(t["tokens"] for t in shown["later"])  # of the first question
            kept["prefilled"] = None if row["decode_method"] == "dense" else first - late
            for turn, prompt in enumerate([shown["prompt"]] + [t["prompt"] for t in shown["later"]]):
                talk.append(dict(role="user", content=prompt))
                text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
                ids = tokenizer(text, add_special_tokens=False).input_ids
                mine = tokenizer.decode(answer(model, ids, stops), skip_special_tokens=True)
                same = mine == given[turn]
                wrong += not same
                print(f"sample {row['sample']} {row['decode_method']:6} turn {turn + 1}: {len(ids):5} tokens before it, score "
                      f"{json.loads(row['turn_scores'])[turn]:.2f}, {'equal' if same else f'{mine!r} here, {given[turn]!r}'}", flush=True)
                talk.append(dict(role="assistant", content=given[turn]))
    print(f"{wrong} answers differ")
    sys.exit(int(wrong > 0))


if __name__ == "__main__":
    main()
