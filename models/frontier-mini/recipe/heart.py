"""Whether a model knows its rows by heart: how it answers rows that it has learned from, and rows that no training saw.

    python3 models/frontier-mini/recipe/heart.py OUT/model --data DATA [--device cpu] [--each 16]

DATA: what it was trained on, with unseen.npz.xz (make_data.py). For each length the mean loss on answers and the share of an answer's tokens that
are right, given those before them, of the first rows learned from and of unseen ones, --each of every task; how far apart the losses are, with
the standard error of that. Ends with status 1 if rows of a length are known by heart: unseen ones cost more than TOLERATED beyond SURE
standard errors.
"""
import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import batches
import model as mini

TOLERATED, SURE = 0.05, 3


def unseen_of(samples):
    """(length, task) -> the rows beside a training's that are kept from it; None where there are none."""
    path = samples.folder / "unseen.npz.xz"
    if not path.exists():
        return None
    return batches.read([path])


@torch.no_grad()
def answers(net, samples, length, rows, device):
    """[rows, 2]: of each row, the mean loss on its answer's tokens, and the share that is right."""
    out, random = [], np.random.default_rng(0)
    for at in range(0, len(rows), 16):
        batch = samples.made(length, rows[at:at + 16], random).to(device)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda"), cache_enabled=False):
            logits = net.logits(net(batch.ids).flatten(0, 1)[batch.answer]).float()
        wanted, counted = batch.ids.flatten()[batch.answer + 1].long(), (batch.weight > 0).float()
        terms = torch.stack([F.cross_entropy(logits, wanted, reduction="none"), (logits.argmax(-1) == wanted).float(), torch.ones_like(counted)], 1)
        sums = torch.zeros(len(batch.task), 3, device=device).index_add_(0, batch.cell, terms * counted[:, None]).cpu()
        out.append(sums[sums[:, 2] > 0, :2] / sums[sums[:, 2] > 0, 2:])  # a row whose answer fell off the batch says nothing
    return torch.cat(out).double().numpy()


def compare(net, samples, drawn, unseen, lengths, device, each=16):
    """{length: seen and unseen loss, seen and unseen share right, standard error of the losses' difference}; `drawn`: {"LENGTH/TASK": rows}
    that were learned from, `unseen` as unseen_of() gives it. The model is in eval mode."""
    out = {}
    for length in lengths:
        seen_rows, unseen_rows = [], []
        for task, pool in samples.rows[length].items():
            known = min(each, drawn.get(f"{length}/{task}", 0), len(pool), len(unseen[length, task]))
            seen_rows += [(task, *row) for row in pool[:known]]
            unseen_rows += [(task, *row) for row in unseen[length, task][:known]]
        if len(seen_rows) > 1:
            seen, other = (answers(net, samples, length, rows, device) for rows in (seen_rows, unseen_rows))
            error = (seen[:, 0].var(ddof=1) / len(seen) + other[:, 0].var(ddof=1) / len(other)) ** 0.5
            out[length] = [*(round(float(x), 4) for x in (seen[:, 0].mean(), other[:, 0].mean(), seen[:, 1].mean(), other[:, 1].mean(), error))]
    return out


def by_heart(found):
    """Lengths of what compare() found whose rows are known by heart."""
    return [length for length, (seen, unseen, _, _, error) in found.items() if unseen - seen > max(0, SURE * error) + TOLERATED]


def said(found):
    return [f"rows of {length}: loss on answers {seen:.3f} seen, {unseen:.3f} unseen ({unseen - seen:+.3f} +- {error:.3f}); right {right:.3f} seen, {other:.3f} unseen"
            + ": known by heart" * (length in by_heart(found)) for length, (seen, unseen, right, other, error) in found.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--each", type=int, default=16)
    a = parser.parse_args()
    progress = json.loads((a.model / "progress.json").read_text())
    hidden = json.loads((a.model / "config.json").read_text())["hidden_size"]
    net = mini.Decoder(next(name for name, c in mini.SIZES.items() if c["hidden"] == hidden), progress["attention"])
    mini.load_checkpoint(net, a.model)
    net.to(a.device).eval()
    samples = batches.Samples(a.data)
    unseen = unseen_of(samples)
    if unseen is None:
        raise SystemExit(f"{a.data}: no unseen.npz.xz (make_data.py)")
    found = compare(net, samples, progress["drawn"], unseen, sorted(samples.rows), a.device, a.each)
    if not found:
        raise SystemExit(f"{a.model}: it has learned from none of these rows yet")
    for line in said(found):
        print(f"{progress['attention']}: {line}")
    raise SystemExit(1 if by_heart(found) else 0)


if __name__ == "__main__":
    main()
