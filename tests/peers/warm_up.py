"""Whether a kind of attention learns to look things up, and how soon: a decoder too small for anything else, in rows of 64 tokens.

    python tests/peers/warm_up.py [SEEDS [STEPS]]         one thread; by default seeds 1 and 2, 4000 steps at most: some ten minutes

Two layers of width 64, an alphabet of 64 words, 2048 tokens a step; trainer, rates' shape and rows are the recipe's (models/frontier-mini/recipe).
A line a seed and variant: the step at which .9 of the answers are right, lately, or that they never were; and how many were, every 200 steps.

    softmax         and, once it has mastered them, how many steps 1.5-entmax in its place takes to do so again (train.py --begin)
    masked          softmax by the kernel that the window's layers have in longer rows: same weights and rows as softmax at the start
    entmax15        1.5-entmax from nothing

Before them, how far the masked kernel and softmax's call are from double in such rows: output and gradients of queries, keys and values.
"""
import sys
import time
import types
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "models/frontier-mini/recipe"))
import batches  # noqa: E402
import entmax_attention  # noqa: E402
import kinds.window as window  # noqa: E402
import model as mini  # noqa: E402
import train  # noqa: E402

WIDTH, ROWS, WORDS = 64, 32, 64
mini.SIZES["tiny"] = dict(hidden=64, heads=1, kv_heads=1, layers=2, mlp=128)
train.RATES["tiny"] = (0.015, 0.00225)


class Alphabet(np.random.Generator):
    """Draws as the recipe's warm-up asks, of one alphabet."""

    def choice(self, sizes):
        super().choice(3)
        return WORDS


entmax = entmax_attention.attention


def softmax(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def masked(self, x, q, k, v):
    return window.latest(q, k, v, window.WINDOW)


def gradients(attend, q, k, v, g):
    q, k, v = (t.clone().requires_grad_() for t in (q, k, v))
    out = attend(q, k, v)
    return [out, *torch.autograd.grad(out, (q, k, v), g)]


def exactness():
    attends = {"softmax": softmax, "masked": lambda q, k, v: window.latest(q, k, v, window.WINDOW)}
    for dtype in (torch.float32, torch.bfloat16):
        most = dict.fromkeys(attends, 0.0)
        for seed in range(5):
            for scale in (0.1, 1, 3):
                torch.manual_seed(seed)
                given = [(torch.randn(16, heads, WIDTH, 64) * by).to(dtype) for heads, by in ((3, scale), (1, scale), (1, 1), (3, 1))]
                exact = gradients(attends["softmax"], *(t.double() for t in given))
                for name, attend in attends.items():
                    apart = [((a.double() - b).norm() / b.norm()).item() for a, b in zip(gradients(attend, *given), exact)]
                    most[name] = max(most[name], *apart)
        print(f"{dtype}, from double at most: " + ", ".join(f"{name} {x:.1e}" for name, x in most.items()), flush=True)


def learn(trainer, random, begun, most):
    """Steps until what was learned is mastered, or None; the share that was right every 200 steps."""
    shares = []
    for step in range(1, most + 1):
        trainer.step(batches.warm_up(WIDTH, ROWS, mini.VOCABULARY, 0, random, "cpu"), min(1, (begun + step) / 100))
        if step % 200 == 0:
            shares.append(round(trainer.skill.item(), 2))
        if step % 20 == 0 and trainer.skill.item() > train.MASTERED:
            return step, shares
    return None, shares


def main():
    seeds = [int(n) for n in sys.argv[1].split(",")] if len(sys.argv) > 1 else [1, 2]
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    exactness()
    for seed in seeds:
        for variant in ("softmax", "masked", "entmax15"):
            torch.manual_seed(seed)
            random, begun = Alphabet(np.random.PCG64(seed)), time.process_time()
            trainer = train.Trainer("tiny", "softmax" if variant == "masked" else "entmax15", ["copy"], [WIDTH], "cpu", False)
            entmax_attention.attention = softmax if variant == "softmax" else entmax
            if variant == "masked":
                for layer in trainer.net.layers:
                    layer.self_attn.attend = types.MethodType(masked, layer.self_attn)
            step, shares = learn(trainer, random, 0, most)
            print(f"{variant}, seed {seed}: {f'mastered after {step} steps' if step else f'not mastered in {most} steps'}; {shares}", end="", flush=True)
            if variant == "softmax" and step:
                entmax_attention.attention = entmax
                trainer.skill.zero_()
                again, shares = learn(trainer, random, step, 800)
                print(f"; by entmax in its place {f'after {again} more' if again else 'not in 800 more'}; {shares}", end="")
            print(f" ({time.process_time() - begun:.0f} s of a processor)", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    mini.VOCABULARY, batches.CONTEXT_SAMPLE = batches.FIRST_WORD + WORDS, 64
    main()
