"""Kinds of attention that the recipe of frontier-mini trains, and what Frontier makes of the trained models.

    python tests/peers/trained.py build [KIND ...]
    python tests/peers/trained.py build PROMPTS.h5 KIND=FOLDER ...    what a training left; prompts from `frontier tasks export`

Of each kind (models/frontier-mini/recipe/kinds) without a folder: a decoder of four layers learns the warm-up, in PyTorch on the CPU, is
stopped, goes on from what it saved, and its loss falls. Then on cpu and reference, of 20 prompts: logits by `build/tests/test_families
logits` against the recipe's own model, <= 1e-4 of the norm; greedy tokens are the likeliest by that model, and by our own prefill of
them; pairs, FLOPs and bytes of prefill and decode are those of a walk over all pairs (which keys weigh of an entmax model: by bisection
in double, those within BAND of the threshold either way). Rows of training are longer than the window, and than a block. A kind that is
Qwen2 under a method (moba) is held by its greedy tokens under that method, with as many blocks as leave out most keys of most prompts;
its generated rows read all keys, as the method has it, and what the method chooses, bit by bit: tests/peers/methods.py.
"""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE / "models/frontier-mini/recipe"))
import attention  # noqa: E402
import batches  # noqa: E402
import entmax_attention  # noqa: E402
import kinds  # noqa: E402
import kinds.moba as moba  # noqa: E402
import kinds.window as window  # noqa: E402
import model as mini  # noqa: E402
import train  # noqa: E402

METHODS = {"moba": {"block": 16, "k": 2}}  # what a folder does not say by itself; smaller than the recipe's, for short prompts
WIDTH, ROWS, STEPS, OUTPUTS = 320, 4, 120, 12
DEVICES = ["cpu", "reference"]
BAND = 1e-4  # of logits / 2 from the threshold, where rounding in fp32 decides whether a key weighs
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


def weighing(q, k):
    """[2, tokens]: of how many keys and heads 1.5-entmax of each row surely makes more than 0, and of how many perhaps, by bisection."""
    z = q[0].double() @ k[0].double().repeat_interleave(q.shape[1] // k.shape[1], 0).transpose(1, 2) * q.shape[-1] ** -0.5 / 2
    z = z.masked_fill(torch.ones(z.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
    high = z.amax(-1, keepdim=True)
    low = high - 1
    for _ in range(25):
        tau = (low + high) / 2
        over = (z - tau).clamp(min=0).square().sum(-1, keepdim=True) >= 1
        low, high = torch.where(over, tau, low), torch.where(over, high, tau)
    return torch.stack([(z > low + BAND).sum((0, 2)), (z > low - BAND).sum((0, 2))])


@torch.no_grad()
def twin(net, ids, choosing):
    """Of the recipe's own model: logits [tokens, vocabulary]; of each row, over all layers and heads, pairs [tokens], and how many of
    them weigh, at least and at most [2, tokens]."""
    there, weighs, plain = np.arange(1, len(ids) + 1), torch.zeros(2, len(ids), dtype=torch.long), entmax_attention.attention

    def watched(q, k, v):
        weighs.add_(weighing(q, k))
        return plain(q, k, v)

    entmax_attention.attention = watched
    for layer in net.layers:
        if net.attention is moba.Attention:
            layer.self_attn.attend = functools.partial(attend, choosing, layer.self_attn)
    logits = net.logits(net(torch.tensor(ids[None]).long()))[0].numpy()
    entmax_attention.attention = plain
    windows = [window.WINDOW if getattr(layer.self_attn, "slides", False) else len(ids) for layer in net.layers]
    pairs = net.shape["heads"] * sum(np.minimum(there, keys) for keys in windows)
    return logits, pairs, weighs.numpy() if weighs.any() else np.stack([pairs, pairs])


def counted(net, tokens, pairs, weighs, printed):
    """Whether what was printed, a line a phase, is what these counts make (counts.c); how many weigh is read from the FLOPs."""
    c, size, good = net.shape, attention.HEAD_DIM, True
    for rows, line in zip((slice(0, tokens), slice(tokens, None)), printed.splitlines(), strict=True):
        found, flops, nbytes = map(int, line.split())
        total, (least, most) = int(pairs[rows].sum()), weighs[:, rows].sum(1)
        keys = len(net.layers) * c["kv_heads"] * tokens if rows.start == 0 else total * c["kv_heads"] // c["heads"]
        weigh, odd = divmod(flops - total * (2 * size + 3), 2 * size)
        good &= found == total and odd == 0 and least <= weigh <= most and nbytes == (keys + min(weigh, keys)) * size * 4
    return bool(good)


def compare(kind, net, folder, build, prompts):
    program, work = os.path.join(build, "tests/test_families"), pathlib.Path(folder)
    method = []
    if kind in METHODS:
        (work / "method.yaml").write_text("".join(f"{name}: {value}\n" for name, value in METHODS[kind].items()))
        method = [kind, work / "method.yaml"]
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (work / file).write_bytes((HERE / "models/frontier-mini/s" / file).read_bytes())

    def run(what, dtype, *more):
        said = subprocess.run([program, what, folder, work / "ids", work / "out", *more], check=True, stdout=subprocess.PIPE, text=True).stdout
        return said, np.fromfile(work / "out", dtype)

    known, good = {}, True

    def wanted(ids, choosing):
        key = ids.tobytes(), choosing
        known[key] = known.get(key) or twin(net, ids, choosing)
        return known[key]

    for device in DEVICES[:1] if method else DEVICES:
        worst, equal, same, counts, dense, total = 0.0, 0, 0, 0, 0, np.zeros(3)
        for ids in prompts:
            ids.tofile(work / "ids")
            printed, output = run("greedy", "<i4", str(OUTPUTS), *(method or [device]))
            whole = np.concatenate([ids, output[:-1]]).astype(np.int32)  # each token is the likeliest behind those before it
            logits, pairs, weighs = wanted(whole, len(ids))
            equal += (logits[len(ids) - 1:].argmax(1) == output).all()
            if method:
                dense += (wanted(whole, 0)[0][len(ids) - 1:].argmax(1) == output).all()
                continue
            whole.tofile(work / "ids")
            ours = run("logits", "<f4", "1", device)[1].reshape(logits.shape)
            worst = max(worst, float((np.linalg.norm(ours - logits, axis=1) / np.linalg.norm(logits, axis=1)).max()))
            same += (ours[len(ids) - 1:].argmax(1) == output).all()
            counts += counted(net, len(ids), pairs, weighs, printed)
            total += [pairs.sum(), *weighs.sum(1)]
        if method:
            print(f"{kind}: greedy tokens under the method equal in {equal} of 20, in {dense} of 20 to those of dense attention", flush=True)
            good &= equal == len(prompts) and dense < len(prompts)
            continue
        print(f"{kind} on {device}, {len(prompts)} prompts: logits differ by at most {worst:.1e} of their norm; greedy tokens equal in {equal}, "
              f"what was decoded is what a prefill says in {same}, counts equal in {counts}; {100 * total[2] / total[0]:.2f} % of the pairs weigh, "
              f"{100 * (total[2] - total[1]) / total[0]:.3f} % are within the band", flush=True)
        good &= worst <= 1e-4 and equal == same == counts == len(prompts)
    return bool(good)


def words(random):
    return [random.integers(batches.FIRST_WORD, batches.FIRST_WORD + 1024, 600 if i == 0 else int(random.integers(2, 120))).astype(np.int32)
            for i in range(20)]


def exported(path):
    """20 prompts of a file of `frontier tasks export`, of every task."""
    with h5py.File(path) as f:
        tokens, offset, prompt = f["tokens"][:], f["offset"][:], f["prompt_tokens"][:]
    at = np.linspace(0, len(prompt) - 1, 20).astype(int)
    return [tokens[offset[i]:offset[i] + prompt[i]].astype(np.int32) for i in at]


def given(kind, folder, copy):
    """The model of a folder that a training left, which is copied so that the tokenizer can stand beside it."""
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    hidden = json.loads((pathlib.Path(folder) / "config.json").read_text())["hidden_size"]
    net = mini.Decoder(next(name for name, c in mini.SIZES.items() if c["hidden"] == hidden), kind)
    mini.load_checkpoint(net, folder)
    return net.float().eval()


def main():
    build, *asked = sys.argv[1:]
    prompts = exported(asked.pop(0)) if asked and asked[0].endswith(".h5") else words(np.random.default_rng(2))
    good = True
    for item in asked or kinds.KINDS:
        kind, _, path = item.partition("=")
        if path and kind in METHODS:
            raise SystemExit(f"{item}: {kind} is held in miniature alone, with METHODS' numbers")
        with tempfile.TemporaryDirectory() as folder:
            net, fell = (given(kind, path, folder), True) if path else trained(kind, folder)
            good &= fell
            good &= compare(kind, net, folder, build, prompts)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    moba.chosen = functools.partial(moba.chosen, block=METHODS["moba"]["block"], count=METHODS["moba"]["k"])
    batches.CONTEXT_SAMPLE = 64
    main()
