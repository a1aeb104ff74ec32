"""The table of results/bench/roster.txt: what a report says of every method of a sweep of configs/roster.yaml.

    frontier report roster.h5 -o roster && python3 tests/peers/roster_table.py roster

A table a model, a line a method: the highest sparsity up to which a loss above .05 of the mean over tasks is excluded and the lowest from which one is
shown (tables/limits.csv), and the mean's score with its 95 % interval at each sparsity that was asked for (tables/scores.csv), * where a loss is shown
(p < .05, Holm). In the order of the means at .9. Needs no package.
"""
import collections
import csv
import sys


def rows(folder, name):
    with open(f"{folder}/tables/{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def score(r):
    lost = r["p_holm"] and float(r["p_holm"]) < 0.05 and float(r["difference"]) < 0
    return "%.2f [%.2f, %.2f]%s" % (float(r["score"]), float(r["low"]), float(r["high"]), "*" if lost else "")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    limits = {(r["model"], r["arm"]): r for r in rows(sys.argv[1], "limits") if r["task"] == "mean"}
    models = collections.defaultdict(lambda: collections.defaultdict(dict))
    for r in rows(sys.argv[1], "scores"):
        models[r["model"]][r["arm"]][r["requested"]] = r
    for model, arms in models.items():
        levels = sorted({level for arm, found in arms.items() if arm != "dense" and len(found) > 1 for level in found}, key=float)
        width = max(map(len, arms)) + 2
        dense = next(iter(arms.pop("dense").values()))
        print(f"{model}. Dense: {score(dense)}, {dense['samples']} samples.\n")
        print("method".ljust(width) + "excluded / shown".ljust(19) + "".join(f".{level.split('.')[1].rstrip('0')}".ljust(22) for level in levels))
        at_09 = lambda arm: -float(arms[arm]["0.90"]["score"]) if "0.90" in arms[arm] else 0
        for arm in sorted(arms, key=lambda arm: (at_09(arm), arm)):
            limit = limits[model, arm]
            words = "%s / %s" % (limit["no_loss_above_0.05_up_to"], limit["loss_shown_from"])
            cells = [score(arms[arm][level]) if level in arms[arm] else "-" for level in levels if set(levels) & set(arms[arm])]
            for level in sorted(set(arms[arm]) - set(levels)):
                r = arms[arm][level]
                cells.append("at %.2f: %s" % (max(float(r["prefill_sparsity"]), float(r["decode_sparsity"])), score(r)))
            print((arm.ljust(width) + words.ljust(19) + "".join(c.ljust(22) for c in cells)).rstrip())
        print()


main()
