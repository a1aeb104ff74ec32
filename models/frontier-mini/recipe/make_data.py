"""Makes what the kinds of attention are trained on, small enough to be carried to the machine that trains.

    python3 models/frontier-mini/recipe/make_data.py FOLDER --steps 20000 [--jobs N] [--frontier build/frontier]
    python3 models/frontier-mini/recipe/make_data.py FOLDER --parts N | --more N

Samples of `frontier tasks export`, all different: FOLDER/part-0000.npz.xz and on, each with the rows that PART_STEPS steps of a training need, twice
over (tasks that are answered wrongly are drawn more often), NumPy arrays under LZMA (tokens in 16 bits), which batches.Samples reads, while
later ones are still being made too. Part p has samples p * n to (p + 1) * n - 1 of a seed, n as in FILES, so that it is the same wherever and
whenever it is made (the bytes too: another liblzma may pack them otherwise); what is there is kept. FOLDER/unseen.npz.xz has samples of
another seed, which no training sees (heart.py). Rows of 64 to 256 tokens are warm-up, which training makes itself. SHA256SUMS beside them.
A part is made on one core; --jobs (all cores) at once.
"""
import argparse
import concurrent.futures
import hashlib
import io
import lzma
import math
import os
import pathlib
import subprocess
import tempfile

import h5py
import numpy as np

RECIPE = pathlib.Path(__file__).resolve().parent
STUDY = RECIPE.parents[2] / "configs/mini-study.yaml"
PART_STEPS = 250  # that a part is for: at 131072 tokens each, and not many more at 65536, where rows of 1024 and less are as many
# config, length, samples of each task in a part
FILES = [(RECIPE / "easy-512.yaml", 512, 1150), (RECIPE / "easy-1024.yaml", 1024, 680), (STUDY, 1024, 680), (STUDY, 2048, 920), (STUDY, 4096, 820)]
SEED, UNSEEN_SEED, UNSEEN = 1, 101, 16  # the configs evaluate on 43; unseen samples of each task and length. Easy ones are of the next seed:
# NIAH is the same task in easy-1024.yaml and the study, and its samples would be
DONE = "SHA256SUMS"  # beside the parts once all are there (batches.py)
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1}]  # of numbers of two bytes


def export(frontier, config, length, samples, seed, first):
    """tokens, offset, length, task's name and prompt_tokens of the samples, a row each."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([frontier, "tasks", "export", str(config), "--seed", str(seed), "--set", f"lengths=[{length}]", "--first", str(first),
                        "-n", str(samples), "--threads", "1", "-o", work + "/x.h5"], check=True, stdout=subprocess.DEVNULL)
        with h5py.File(work + "/x.h5") as f:
            names = np.array([str(name).split("(")[0] for name in f.attrs["tasks"]])
            return f["tokens"][:], np.diff(f["offset"][:]), f["length"][:], names[f["task"][:]], f["prompt_tokens"][:]


def make(to, frontier, seed, part, scale):
    """Writes a file of 1 / scale of the samples that FILES says, or of UNSEEN of each. Returns a line about it."""
    counts = [UNSEEN if part is None else max(1, n // scale) for *_, n in FILES]
    files = [export(frontier, config, length, n, seed + (config != STUDY), (part or 0) * n) for (config, length, _), n in zip(FILES, counts)]
    tokens, tokens_of, length, task, prompts = (np.concatenate(columns) for columns in zip(*files))
    if tokens.max() > 0xffff or tokens_of.max() > 0xffff:
        raise SystemExit(f"{to}: a token or a row's length needs more than 16 bits")
    tasks, task = np.unique(task, return_inverse=True)
    raw = io.BytesIO()
    np.savez(raw, tokens=tokens.astype(np.uint16), tokens_of=tokens_of.astype(np.uint16), tasks=tasks, length=length, task=task.astype(np.uint8),
             prompt_tokens=prompts.astype(np.uint16))
    packed = lzma.compress(raw.getvalue(), lzma.FORMAT_XZ, filters=FILTERS)
    to.with_suffix(".tmp").write_bytes(packed)
    to.with_suffix(".tmp").rename(to)
    return f"{to.name}: {len(length)} rows, {len(tokens) / 1e6:.1f} M tokens, {len(packed) / 1e6:.2f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--steps", type=int, metavar="N", help="as many parts as a training of N steps behind the warm-up needs (train.py --steps)")
    wanted.add_argument("--parts", type=int, metavar="N", help="N parts in all")
    wanted.add_argument("--more", type=int, metavar="N", help="N parts more than there are")
    parser.add_argument("--scale", type=int, default=1, help="a part has one in so many of its samples, to try things; the same for all of a folder")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--frontier", default="build/frontier")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    (a.folder / DONE).unlink(missing_ok=True)
    there = len(list(a.folder.glob("part-*.npz.xz")))
    parts = a.parts or there + (a.more or 0)
    if a.steps:
        parts = math.ceil(a.steps / PART_STEPS)
    wanted = [(a.folder / "unseen.npz.xz", a.frontier, UNSEEN_SEED, None, a.scale)]
    wanted += [(a.folder / f"part-{part:04}.npz.xz", a.frontier, SEED, part, a.scale) for part in range(parts)]
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:  # what takes the time lets other threads run
        for line in pool.map(lambda job: make(*job), (job for job in wanted if not job[0].exists())):
            print(line, flush=True)
    files = sorted(a.folder.glob("*.npz.xz"))
    (a.folder / DONE).write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files))


if __name__ == "__main__":
    main()
