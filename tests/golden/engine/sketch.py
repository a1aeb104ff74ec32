"""Golden logits in little space.

Logits of a prompt are [tokens, vocab]; kept are, at every position, two random projections onto signs and the norm:
    sketch[p, k] = sum_v sign(k, v) * logits[p, v]        E (a·sign)² = |a|², so the mean square over positions and k of
    the difference of two sketches estimates the squared norm of the difference of the logits.
    sign(k, v) = +1 if splitmix64(2 v + k) is odd, else -1

File (little endian): int32 prompts; for each: int32 tokens, int32 greedy, int32 ids[tokens], int32 greedy ids[greedy],
float32 sketch[tokens, 2], float32 norm[tokens].
"""
import numpy as np
import torch



def signs(vocab):
    x = 2 * np.arange(vocab, dtype=np.uint64)[None, :] + np.arange(2, dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x & np.uint64(1)).astype(np.float64) * 2 - 1  # [2, vocab]


@torch.no_grad()
def logits_and_greedy(model, ids, greedy):
    """Logits of the whole prompt in one pass, fp32, and `greedy` continuation ids with the model's own cache."""
    out = model(torch.tensor([ids]), use_cache=True)
    logits, cache, chosen = out.logits[0].float().numpy(), out.past_key_values, []
    step = out.logits[0, -1]
    for _ in range(greedy):
        chosen.append(int(step.argmax()))
        if len(chosen) == greedy:
            break
        out = model(torch.tensor([[chosen[-1]]]), past_key_values=cache, use_cache=True)
        step, cache = out.logits[0, -1], out.past_key_values
    return logits, chosen


def write(path, prompts):
    """prompts: list of (ids, greedy ids, logits [tokens, vocab])"""
    with open(path, "wb") as f:
        np.array([len(prompts)], np.int32).tofile(f)
        for ids, greedy, logits in prompts:
            exact = logits.astype(np.float64)
            np.array([len(ids), len(greedy), *ids, *greedy], np.int32).tofile(f)
            (exact @ signs(logits.shape[1]).T).astype(np.float32).tofile(f)
            np.linalg.norm(exact, axis=1).astype(np.float32).tofile(f)
