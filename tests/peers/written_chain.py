"""Does a chain that is written out step by step hang on what has been written? Of configs/written-chain.yaml's task of 4 hops.

    python3 tests/peers/written_chain.py [MODEL] [--samples 20] [--tokens 1024]

The asked chain's names are written as far as some place, then the name that another chain has there; transformers goes on greedily. Which
name comes next: the one behind the foreign name (it hangs on the name written last), the one behind the asked chain's own (it does
not), or neither? Beside it, the same without the foreign name. Needs torch, transformers 5, and build/frontier."""
import argparse
import collections
import json
import pathlib
import re
import subprocess

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(ROOT / "models/frontier-mini/s"))
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=1024)
    a = parser.parse_args()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32).eval()
    found = collections.defaultdict(collections.Counter)
    for i in range(a.samples):
        shown = json.loads(subprocess.run([ROOT / "build/frontier", "show", "--json", ROOT / "configs/written-chain.yaml", "-t", "4 hops", "-i", str(i), "-s",
                                           f"models=[{pathlib.Path(a.model).resolve()}]", "-s", f"lengths=[{a.tokens}]"],
                                          check=True, capture_output=True, text=True).stdout)
        after = {old: new for new, old in re.findall(r"VAR (\w+) = VAR (\w+)", shown["prompt"])}
        chains = [[root] for root in re.findall(r"VAR (\w+) = \d+", shown["prompt"])]
        for chain in chains:
            while chain[-1] in after:
                chain.append(after[chain[-1]])
        own = next(c for c in chains if c == shown["gold"])
        foreign = next(c for c in chains if c != own)
        head = tokenizer.apply_chat_template([dict(role="user", content=shown["prompt"])], tokenize=False, add_generation_prompt=True)
        for place in range(len(own) - 1):
            for name, last in (("own", own[place]), ("foreign", foreign[place])):
                text = head + "<answer>\n" + " ".join(own[:place] + [last])
                ids = torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])
                with torch.no_grad():
                    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
                said = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True).split()[:1]
                known = {own[place + 1]: "next of own", foreign[place + 1]: "next of foreign"}
                found[place + 1, name][known.get(said[0] if said else "", "another")] += 1
    for (place, name), counts in sorted(found.items()):
        print(f"{place} names written, the last of them the {'asked' if name == 'own' else 'other'} chain's: " + ", ".join(f"{k} {v}" for k, v in sorted(counts.items())))


if __name__ == "__main__":
    main()
