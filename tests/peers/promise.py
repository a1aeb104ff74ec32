"""vAttention's promise: in how many queries is what it estimates farther off than `error`, where a share `failures` may be?

    python3 tests/peers/promise.py [--queries=10000] [--seconds=S] [--device=cpu] [random | 'deviation 1' …] [MODEL …]

Needs torch, and for MODEL, a Hugging Face folder or a GGUF file, transformers 5.

For each (error, failures), of so many queries and some more, the share that fails with its 95 % interval (Wilson), and the share of keys
read, of three estimators: the authors' (skylight-org/sparse-attention-hub f5abf91, adaptive_sampling.py, re-read: one-sided
quantile, draws with replacement from a range that holds the best keys too, what is drawn twice kept once, sums that count the
best keys twice), and methods/vattention.c's, which verifies the denominator, or the output. These are its formulas over many
rows at once; tests/peers/estimators.py holds the C method to the same ones, case by case.

Queries: `random`, logits with deviations of 1 and 3, and with a heavy tail (Student's t, 3 degrees of freedom); a model's last rows of each
layer and query head, over 4096 tokens of this repository's documents. 128 first, 128 latest and the 128 exactly best keys are
sure; the first sample is 5 % of the others. "D": of the denominator's error; "out": of the output's. With a limit of seconds each
source stops there, with as many queries as it has got to, in an order drawn at random.
"""
import math
import pathlib
import sys
import time

import torch

ROOT = pathlib.Path(__file__).parents[2]
SINKS = LOCAL = TOP = 128
BASE, KEYS, QUERIES, SECONDS = 0.05, 4096, 10000, math.inf
KINDS = ("deviation 1", "deviation 3", "heavy tail")
PROMISES = [(error, failures) for error in (0.05, 0.1, 0.2) for failures in (0.05, 0.1)]
torch.set_num_threads(1)
torch.manual_seed(7)


def quantile(p):
    """z with P(Z > z) = p."""
    return math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * p, dtype=torch.float64)).item()


def wilson(k, n):
    p, z = k / n, 1.959964
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max((middle - half) / (1 + z * z / n), 0), (middle + half) / (1 + z * z / n)


class Rows:
    """exp(logit) [R, N] of R queries over N keys, values [N, D], and draws that all promises share."""

    def __init__(self, logit, v):
        self.e = torch.exp((logit - logit.amax(1, keepdim=True)).double())
        self.v, (self.r, self.n) = v.double(), logit.shape
        sure = torch.zeros_like(self.e, dtype=torch.bool)
        sure[:, :SINKS] = sure[:, self.n - LOCAL :] = True
        best = self.e.masked_fill(sure, -1).topk(TOP, 1).indices
        self.sure = sure.scatter(1, best, True)
        self.others = self.n - SINKS - LOCAL - TOP
        self.rank = [self.ranks(), self.ranks()]
        self.span = self.n - SINKS - LOCAL
        self.first = torch.randint(SINKS, self.n - LOCAL, (self.r, max(2, int(BASE * self.span))))
        draws = torch.randint(SINKS, self.n - LOCAL, (self.r, self.span))
        when = torch.arange(self.span).expand(self.r, -1)
        self.seen = torch.full((self.r, self.n), self.span).scatter_reduce(1, draws, when, "amin")
        self.D, self.N = self.e.sum(1), self.values(self.e)
        self.of_sure = (self.sure * self.e).sum(1), self.values(self.sure * self.e)
        base = (self.rank[0] < max(2, int(BASE * self.others))).double()
        self.m, drawn = base.sum(1), base * self.e
        self.mean, self.sum = drawn.sum(1) / self.m, self.values(drawn)
        self.variance = (base * (self.e - self.mean[:, None]) ** 2).sum(1) / (self.m - 1)
        squares = (drawn**2) @ self.v**2
        self.trace = ((squares - self.sum**2 / self.m[:, None]) / (self.m[:, None] - 1)).sum(1)

    def values(self, weight):
        return weight @ self.v

    def ranks(self):
        """A random order of the others; the sure ones come last."""
        order = torch.rand(self.r, self.n).masked_fill(self.sure, 2).argsort(1)
        return torch.empty_like(order).scatter(1, order, torch.arange(self.n).expand(self.r, -1))

    def errors(self, weight):
        D, N = (self.e * weight).sum(1), self.values(self.e * weight)
        out, dense = N / D[:, None], self.N / self.D[:, None]
        return (D / self.D - 1).abs(), (out - dense).norm(dim=1) / dense.norm(dim=1), (weight > 0).double().mean(1)

    def enough(self, z, error, variance, total):
        without = (z * self.others / (error * total)) ** 2 * variance
        return torch.where(variance > 0, (1 / (1 / without + 1 / self.others)).ceil(), 0)

    def mended(self, error, failures, output):
        n, (sure_D, sure_N) = self.others, self.of_sure
        within, z = (error / (2 + error), quantile(failures / 4)) if output else (error, quantile(failures / 2))
        size = self.enough(z, within, self.variance, sure_D + n * self.mean)
        if output:
            size = torch.maximum(size, self.enough(z, within, self.trace, (sure_N + n * self.sum / self.m[:, None]).norm(dim=1)))
        size = size.clamp(min=self.m).clamp(max=n)
        drawn = self.rank[1] < size[:, None]
        return self.errors(self.sure + drawn * (n / size)[:, None])

    def authors(self, error, failures):
        sampled = self.e.gather(1, self.first)
        unique = torch.zeros_like(self.e).scatter(1, self.first, 1.0)
        total = self.of_sure[0] + (unique * self.e).sum(1) * self.span / self.first.shape[1]
        size = (quantile(failures) * sampled.std(1).clamp(min=1e-8) * self.span / (error * total).clamp(min=1e-8)) ** 2
        size = size.clamp(1, self.span).long().clamp(self.first.shape[1], self.span)
        share = size.double() / self.span
        mask = (self.sure + (self.seen < size[:, None]) * share[:, None]).clamp(max=1)  # merged masks add up, to 1 at most
        return self.errors(torch.where(mask > 0, 1 / mask.clamp(min=1e-30), 0))


def random_rows(kind):
    """100 queries at a time over the same values."""
    for _ in range(-(-QUERIES // 100)):
        logit = torch.randn(100, KEYS) * (3 if kind == "deviation 3" else 1)
        if kind == "heavy tail":
            logit = logit / (torch.distributions.Chi2(3.0).sample((100, KEYS)) / 3).sqrt()
        yield Rows(logit, torch.randn(KEYS, 64))


def model_rows(path):
    """Queries, keys and values as the attention gets them, of the last rows."""
    from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    kept = []

    def keep(module, q, k, v, mask, scaling, **rest):
        kept.append((q[0, :, -ROWS:].float() * scaling, k[0].float(), v[0].float()))
        return sdpa_attention_forward(module, q, k, v, mask, scaling=scaling, **rest)

    AttentionInterface.register("keep", keep)
    path = pathlib.Path(path)
    where = {"pretrained_model_name_or_path": path} if path.is_dir() else {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, attn_implementation="keep")
    tokenizer = AutoTokenizer.from_pretrained(**where) if "gguf_file" in where else PreTrainedTokenizerFast.from_pretrained(path)
    ROWS = -(-QUERIES // (model.config.num_hidden_layers * model.config.num_attention_heads))
    text = "\n".join((ROOT / name).read_text() for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"))
    ids = tokenizer(text, return_tensors="pt").input_ids[:, :KEYS]
    assert ids.shape[1] == KEYS
    with torch.no_grad():
        model.model(ids)
    places = [(layer, h, row) for layer, (q, _, _) in enumerate(kept) for h in range(q.shape[0]) for row in range(0, ROWS, 64)]
    for at in torch.randperm(len(places)):
        layer, h, row = places[at]
        q, k, v = kept[layer]
        g = h * k.shape[0] // q.shape[0]  # each row sees the keys up to its own; the few behind it are left out for all of them
        yield Rows(q[h, row : row + 64] @ k[g, : KEYS - ROWS + 1].T, v[g, : KEYS - ROWS + 1])


def tell(name, source):
    fails, total, began = {}, 0, None
    for rows in source:
        total, began = total + rows.r, began or time.monotonic()
        for error, failures in PROMISES:
            for who, got in (("authors", rows.authors(error, failures)), ("denominator", rows.mended(error, failures, False)),
                             ("output", rows.mended(error, failures, True))):
                at = fails.setdefault((error, failures, who), [0, 0, 0.0])
                at[0] += int((got[0] > error).sum())
                at[1] += int((got[1] > error).sum())
                at[2] += float(got[2].sum())
        if time.monotonic() - began > SECONDS:
            break
    print(f"\n{name}: {total} queries\n error  failures  estimator     D: failed, 95 %            out: failed, 95 %          keys read")
    for (error, failures, who), (d, out, read) in fails.items():
        spans = [f"{k / total:.4f} [{wilson(k, total)[0]:.4f}, {wilson(k, total)[1]:.4f}]" for k in (d, out)]
        kept = wilson(out if who == "output" else d, total)[0] <= failures
        print(f" {error:5.2f}  {failures:8.2f}  {who:12}  {spans[0]:25}  {spans[1]:25}  {read / total:9.3f}  {'' if kept else 'broken'}", flush=True)


def main():
    global QUERIES, SECONDS
    given = dict(x[2:].split("=") for x in sys.argv[1:] if x.startswith("--"))
    QUERIES, SECONDS = int(given.get("queries", QUERIES)), float(given.get("seconds", SECONDS))
    torch.set_default_device(given.get("device", "cpu"))
    for what in [x for x in sys.argv[1:] if not x.startswith("--")] or ["random", "models/frontier-mini/l"]:
        if what == "random" or what in KINDS:
            for kind in KINDS if what == "random" else [what]:
                tell(f"random, {kind}", random_rows(kind))
        else:
            tell(what, model_rows(what))


if __name__ == "__main__":
    main()
