"""Do transformers' answers equal Frontier's? Generates greedily for the dense rows of a results file and compares texts.

    frontier run configs/mini-study.yaml --set lengths=[2048] --set samples=10 --set methods={} --set sparsity=[] --out /tmp/d.h5
    frontier export /tmp/d.h5 --jsonl --out /tmp/d.jsonl
    python3 models/frontier-mini/recipe/compare_transformers.py build/frontier configs/mini-study.yaml \
        models/frontier-mini/s /tmp/d.jsonl

Prompts come from `frontier show`; chat template, tokens and generation are transformers' own, in fp32.
"""
import collections
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast


def main():
    frontier, config, folder, rows = sys.argv[1:]
    # Not AutoTokenizer: for Qwen2 transformers 5 puts its own splitting in place of the one in tokenizer.json.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    same = collections.defaultdict(lambda: [0, 0, 0.0])
    for line in open(rows):
        row = json.loads(line)
        if row["prefill_method"] != "dense" or row["decode_method"] != "dense":
            continue
        shown = json.loads(subprocess.run(
            [frontier, "show", config, "-t", row["task_label"], "-l", str(row["length"]), "-i", str(row["sample"]), "-j"],
            check=True, capture_output=True, text=True).stdout)
        ids = tokenizer.apply_chat_template([{"role": "user", "content": shown["prompt"]}], add_generation_prompt=True,
                                            return_tensors="pt", return_dict=True)["input_ids"]
        assert ids.shape[1] == shown["tokens"], (ids.shape, shown["tokens"])
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=row["output_limit"], do_sample=False)
        text = tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)
        cell = same[row["task_label"], row["length"]]
        cell[0] += text == row["prediction"]
        cell[1] += 1
        cell[2] += row["strict"]
        if text != row["prediction"]:
            print(f"{row['task_label']} {row['length']} sample {row['sample']}:\n  {text!r}\n  {row['prediction']!r}")
    for (task, length), (equal, count, score) in same.items():
        print(f"{task:18} {length:6} tokens: {equal} of {count} answers equal, strict score {score / count:.2f}")
    sys.exit(any(equal != count for equal, count, _ in same.values()))


if __name__ == "__main__":
    main()
