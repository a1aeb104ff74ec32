"""Makes what the kinds of attention are trained on, small enough to be carried to the machine that trains.

    python3 models/frontier-mini/recipe/make_data.py FOLDER [--share N] [--frontier build/frontier]

Samples of `frontier tasks export`, a file a length: FOLDER/NAME.npz.xz, NumPy arrays under LZMA (tokens in 16 bits: .3 bytes a token), which
batches.Samples reads; SHA256SUMS beside them. Rows of 64 to 256 tokens are warm-up, which training makes itself. The same samples everywhere: they
follow from seed and number, and the bytes from them (another liblzma may pack them otherwise). --share: one sample in so many. What is there is kept.
"""
import argparse
import hashlib
import io
import lzma
import pathlib
import subprocess
import tempfile

import h5py
import numpy as np

RECIPE = pathlib.Path(__file__).resolve().parent
STUDY = RECIPE.parents[2] / "configs/mini-study.yaml"
# name, config, length, samples of each task
FILES = [("easy-512", RECIPE / "easy-512.yaml", 512, 6000), ("easy-1024", RECIPE / "easy-1024.yaml", 1024, 2400), ("1024", STUDY, 1024, 2400),
         ("2048", STUDY, 2048, 2200), ("4096", STUDY, 4096, 1600)]
SEED = 1  # the configs evaluate on 43
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 1, "pb": 1}]  # of numbers of two bytes


def pack(source):
    """The bytes of NAME.npz.xz."""
    with h5py.File(source) as f:
        tokens, offset = f["tokens"][:], f["offset"][:]
        rows = {"length": f["length"][:], "task": f["task"][:].astype(np.uint8), "prompt_tokens": f["prompt_tokens"][:].astype(np.uint16)}
        names = np.array([str(name).split("(")[0] for name in f.attrs["tasks"]])
    if tokens.max() > 0xffff or np.diff(offset).max() > 0xffff:
        raise SystemExit(f"{source}: a token or a row's length needs more than 16 bits")
    raw = io.BytesIO()
    np.savez(raw, tokens=tokens.astype(np.uint16), tokens_of=np.diff(offset).astype(np.uint16), tasks=names, **rows)
    return lzma.compress(raw.getvalue(), lzma.FORMAT_XZ, filters=FILTERS), len(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--frontier", default="build/frontier")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    for name, config, length, samples in FILES:
        to = a.folder / f"{name}.npz.xz"
        if to.exists():
            continue
        with tempfile.TemporaryDirectory() as work:
            subprocess.run([a.frontier, "tasks", "export", str(config), "--seed", str(SEED), "--set", f"lengths=[{length}]",
                            "-n", str(max(1, samples // a.share)), "-o", work + "/x.h5"], check=True, stdout=subprocess.DEVNULL)
            packed, tokens = pack(work + "/x.h5")
        to.with_suffix(".tmp").write_bytes(packed)
        to.with_suffix(".tmp").rename(to)
        print(f"{to.name}: {tokens / 1e6:.1f} M tokens, {len(packed) / 1e6:.2f} MB", flush=True)
    files = sorted(a.folder.glob("*.npz.xz"))
    (a.folder / "SHA256SUMS").write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files))


if __name__ == "__main__":
    main()
