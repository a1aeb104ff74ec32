"""Kinds of attention that the recipe of frontier-mini trains, in miniature, and what Frontier makes of the trained models.

    python tests/peers/trained.py build [KIND ...]

Of each kind (models/frontier-mini/recipe/kinds): a decoder of four layers learns the warm-up, in PyTorch on the CPU, is stopped, goes on
from what it saved, and its loss falls; then logits of the saved folder by `build/tests/test_families logits` are held against the
recipe's own model, and greedy tokens of 20 prompts against it: <= 1e-4 of the norm. Rows of training are longer than the window, and
than a block. A kind that is Qwen2 under a method (moba) is held by its greedy tokens under that method, with as many blocks as leave
out most keys of most prompts; its generated rows read all keys, as the method has it, and what the method chooses, bit by bit:
tests/peers/methods.py.
"""
import functools
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE / "models/frontier-mini/recipe"))
import batches  # noqa: E402
import kinds  # noqa: E402
import kinds.moba as moba  # noqa: E402
import model as mini  # noqa: E402
import train  # noqa: E402

METHODS = {"moba": {"block": 16, "k": 2}}  # what a folder does not say by itself; smaller than the recipe's, for short prompts
WIDTH, ROWS, STEPS, OUTPUTS = 320, 4, 120, 12
mini.SIZES["miniature"] = dict(hidden=128, heads=2, kv_heads=1, layers=4, mlp=128)
train.RATES["miniature"] = (0.02, 6e-3)


def learn(trainer, random, steps):
    """Losses of steps on warm-up rows, of an alphabet of 1024."""
    out = []
    for step in range(steps):
        batch = batches.warm_up(WIDTH, ROWS, batches.FIRST_WORD + 1024, 0, random, "cpu")
        trainer.step(batch, min(1, (step + 1) / 10))
        out.append(trainer.loss[0].item())
    return out


def trained(kind, folder):
    random = np.random.default_rng(1)
    torch.manual_seed(1)
    first = train.Trainer("miniature", kind, ["copy"], [WIDTH], "cpu", False)
    losses = learn(first, random, STEPS // 2)
    mini.save_checkpoint(first.net, folder)
    again = train.Trainer("miniature", kind, ["copy"], [WIDTH], "cpu", False)  # as a later call goes on
    mini.load_checkpoint(again.net, folder)
    losses += learn(again, random, STEPS // 2)
    mini.save_checkpoint(again.net, folder)
    mini.load_checkpoint(again.net, folder)  # rounded to bf16, as the folder is
    print(f"{kind}: loss {np.mean(losses[:5]):.3f} -> {np.mean(losses[STEPS // 2 - 5:STEPS // 2]):.3f} -> {np.mean(losses[-5:]):.3f}",
          flush=True)
    return again.net.float().eval(), np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def attend(choosing, self, x, q, k, v):
    """MoBA's reading where the first `choosing` rows choose, the others read all keys."""
    read = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril().repeat(1, q.shape[1], 1, 1)
    if choosing:
        read[:, :, :choosing, :choosing] = moba.chosen(q[:, :, :choosing], k[:, :, :choosing])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=read, enable_gqa=True)


@torch.no_grad()
def greedy(net, ids, choosing):
    """OUTPUTS tokens behind a prompt; of MoBA, its first `choosing` rows choose."""
    out = []
    for layer in net.layers:
        if net.attention is moba.Attention:
            layer.self_attn.attend = functools.partial(attend, choosing, layer.self_attn)
    for _ in range(OUTPUTS):
        out.append(int(net.logits(net(torch.tensor([ids + out])))[0, -1].argmax()))
    return out


@torch.no_grad()
def compare(kind, net, folder, build):
    program = os.path.join(build, "tests/test_families")
    method = []
    if kind in METHODS:
        (folder / "method.yaml").write_text("".join(f"{name}: {value}\n" for name, value in METHODS[kind].items()))
        method = [kind, folder / "method.yaml"]
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / file).write_bytes((HERE / "models/frontier-mini/s" / file).read_bytes())
    random, worst, equal, dense = np.random.default_rng(2), 0.0, 0, 0
    for i in range(20):
        ids = random.integers(batches.FIRST_WORD, batches.FIRST_WORD + 1024, 600 if i == 0 else int(random.integers(2, 120))).astype(np.int32)
        ids.tofile(folder / "ids")
        if not method:
            wanted = net.logits(net(torch.tensor(ids[None]).long()))[0].numpy()
            subprocess.run([program, "logits", folder, folder / "ids", folder / "out"], check=True, stdout=subprocess.DEVNULL)
            found = np.fromfile(folder / "out", "<f4").reshape(wanted.shape)
            worst = max(worst, float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max()))
        subprocess.run([program, "greedy", folder, folder / "ids", folder / "out", str(OUTPUTS), *method], check=True, stdout=subprocess.DEVNULL)
        found = np.fromfile(folder / "out", "<i4").tolist()
        equal += greedy(net, ids.tolist(), len(ids)) == found
        dense += bool(method) and greedy(net, ids.tolist(), 0) == found
    if method:
        print(f"{kind}: greedy tokens under the method equal in {equal} of 20, in {dense} of 20 to those of dense attention", flush=True)
        return equal == 20 and dense < 20
    print(f"{kind}: logits of 20 prompts differ by at most {worst:.1e} of their norm; greedy tokens equal in {equal} of 20", flush=True)
    return worst <= 1e-4 and equal == 20


def main():
    build, asked = sys.argv[1], sys.argv[2:] or kinds.KINDS
    good = True
    for kind in asked:
        with tempfile.TemporaryDirectory() as folder:
            net, fell = trained(kind, folder)
            good &= fell
            good &= compare(kind, net, pathlib.Path(folder), build)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    moba.chosen = functools.partial(moba.chosen, block=METHODS["moba"]["block"], count=METHODS["moba"]["k"])
    batches.CONTEXT_SAMPLE = 64
    main()
