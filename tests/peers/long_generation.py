"""What long generation costs and gives: of an exported sweep of tasks with several turns (configs/long-generation.yaml), or of one, whose
score then stands under the last quarter (configs/written-chain.yaml).

    frontier export results/long-generation.h5 --csv | python3 tests/peers/long_generation.py

A row for each model, task, length, method in decode and sparsity: the mean score of each quarter of the turns; tokens generated and decode
steps (questions are read in steps too), a sample; sparsity of the steps as executed; bytes read in decode (cache, weights, what choosing
reads), a sample, and for each answer that is right, a turn that scores 1/2 being half of one: the bytes of all samples over the sum of all
turns' scores. Of methods in decode on a dense prefill. Needs nothing but Python."""
import collections
import csv
import json
import sys

WORKS, READ = ("linear", "attention", "estimation", "other"), ("weight_bytes", "cache_bytes", "other_bytes")


def quarters(scores):
    n = len(scores)
    bounds = [k * n // 4 for k in range(5)]
    return [sum(scores[a:b]) / (b - a) if b > a else float("nan") for a, b in zip(bounds, bounds[1:])]


def main():
    csv.field_size_limit(1 << 30)
    cells = collections.defaultdict(list)
    for r in csv.DictReader(sys.stdin):
        turns = json.loads(r.get("turn_scores") or "[]")
        turns = turns or [float(r["strict"])]
        if r["prefill_method"] != "dense":
            continue
        read = sum(float(r[f"decode_{w}_{b}"]) for w in WORKS for b in READ)
        steps = float(r["late_tokens"] or 0) + float(r["output_tokens"])
        key = r["model"], r["task_label"], int(r["length"]), float(r["decode_sparsity"]), r["decode_label"]
        cells[key].append((turns, float(r["output_tokens"]), steps, float(r["decode_achieved"]), read))
    last = None
    for (model, task, length, sparsity, method), rows in sorted(cells.items()):
        n = len(rows)
        if last != (model, task, length):
            last = model, task, length
            print(f"\n{model}, {task}, {length} tokens before the first answer: {n} samples of {len(rows[0][0])} turns")
            print(f"  {'decode':18}{'sparsity':>9}{'1st':>7}{'2nd':>6}{'3rd':>6}{'4th quarter':>13}{'generated':>11}{'steps':>7}{'executed':>10}"
                  f"{'GB read':>9}{'a right answer':>16}")
        along = [sum(v) / n for v in zip(*(quarters(t) for t, *_ in rows))]
        generated, steps, achieved, read = (sum(row[k] for row in rows) / n for k in (1, 2, 3, 4))
        right = sum(sum(t) for t, *_ in rows) / n
        print(f"  {method:18}{sparsity:9.2f}{along[0]:7.2f}{along[1]:6.2f}{along[2]:6.2f}{along[3]:13.2f}{generated:11.0f}{steps:7.0f}{achieved:10.2f}"
              f"{read / 1e9:9.2f}" + (f"{read / right / 1e9:13.3f} GB" if right else f"{'none':>16}"))


if __name__ == "__main__":
    main()
