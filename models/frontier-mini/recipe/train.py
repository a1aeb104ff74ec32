"""Trains one size of the frontier-mini family on one GPU.

    frontier tasks export configs/mini-study.yaml --samples 20000 --seed 1 --out DATA/tasks.h5
    python3 models/frontier-mini/recipe/train.py l --data DATA --out OUT --minutes 20

Muon on the hidden matrices, AdamW on embeddings, norms and biases; lengths grow; warm-up rows fade. Logs a JSON line
every 100 steps (share of answer tokens and of whole answers that are right, by task and length, on samples not seen
before while the data last); saves OUT/checkpoint.pt and OUT/model every two minutes, and goes on from the checkpoint
when started again.
"""
import argparse
import collections
import json
import pathlib
import platform
import time

import numpy
import torch
import torch.nn.functional as F

import batches
import model as mini

# Stages: length, share of warm-up rows, least and most share of the time that the stage takes. The first ones end as soon
# as the warm-up is mastered (MASTERED of its answers right): a model that has not learned to look things up learns
# nothing else.
STAGES = [(64, 1.0, 0.01, 0.40), (128, 1.0, 0.01, 0.08), (256, 1.0, 0.01, 0.08), (512, 0.3, 0.20, 0.20),
          (1024, 0.1, 0.18, 0.18), (2048, 0.0, 0.18, 0.18), (4096, 0.0, 0.20, 0.20), (8192, 0.0, 1.0, 1.0)]
MASTERED = 0.9
MIX = {"niah": 0.15, "vt": 0.18, "cwe": 0.12, "story_retrieval": 0.17, "story_multihop": 0.19, "story_filtering": 0.19}
RATES = {"s": (0.02, 3e-3), "m": (0.02, 3e-3), "l": (0.015, 2e-3)}  # Muon, AdamW
CONTEXT_WEIGHT = 0.05   # of the loss on ordinary context tokens
DECAY = 0.35            # last share of the time in which the rates fall to zero


class Muon:
    """Orthogonalised momentum for matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/)."""

    def __init__(self, matrices, rate):
        self.rate, self.groups = rate, collections.defaultdict(list)
        for p in matrices:
            self.groups[tuple(p.shape)].append(p)
        self.momentum = {s: torch.zeros(len(g), *s, device=g[0].device) for s, g in self.groups.items()}

    @torch.no_grad()
    def step(self, factor):
        for shape, group in self.groups.items():
            gradient, momentum = torch.stack([p.grad for p in group]), self.momentum[shape]
            momentum.lerp_(gradient, 0.05)
            update = gradient.lerp(momentum, 0.95).bfloat16()
            tall = shape[0] > shape[1]
            if tall:
                update = update.transpose(1, 2)
            update = update / (update.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):
                square = update @ update.transpose(1, 2)
                update = 3.4445 * update + (-4.7750 * square + 2.0315 * square @ square) @ update
            if tall:
                update = update.transpose(1, 2)
            rate = self.rate * factor
            torch._foreach_mul_(group, 1 - rate * 0.02)
            torch._foreach_add_(group, list(update.float().unbind()), alpha=-rate * max(1, shape[0] / shape[1]) ** 0.5)
            for p in group:
                p.grad = None


class Schedule:
    """Length and rows of batches as time passes and warm-up is mastered."""

    def __init__(self, available, tokens):
        self.available, self.tokens, self.index, self.begun = sorted(available), tokens, 0, 0.0

    def stage(self):
        """Length and share of warm-up rows now."""
        return STAGES[self.index][:2]

    def advance(self, share, mastered):
        """Time has come to `share`; `mastered`: the stage's warm-up is. True if a new stage begins."""
        _, _, least, most = STAGES[self.index]
        if self.index + 1 == len(STAGES) or share - self.begun < (least if mastered else most):
            return False
        self.index, self.begun = self.index + 1, share
        return True

    def rows(self, width):
        return max(1, min(self.tokens, max(self.tokens // 8, 64 * width)) // width)

    def draw(self, random):
        """Length and rows of the next batch of samples: the stage's, or, once it is long, often a shorter one."""
        length = self.stage()[0]
        lengths = [n for n in self.available if n <= length] or self.available[:1]
        drawn = lengths[-1]
        if length >= 2048 and random.random() < 0.5:
            drawn = int(random.choice(lengths[:-1]))
        return drawn, self.rows(drawn + batches.ANSWER_ROOM)


def losses(net, batch):
    """Answer loss, loss on the context, and which answer tokens are right."""
    hidden, target = net(batch.ids).flatten(0, 1), batch.ids.flatten()
    logits, wanted = net.logits(hidden[batch.answer]).float(), target[batch.answer + 1]
    answer = (F.cross_entropy(logits, wanted, reduction="none") * batch.weight).sum() / batch.weight.sum()
    context = F.cross_entropy(net.logits(hidden[batch.context]).float(), target[batch.context + 1])
    return answer, context, logits.argmax(-1) == wanted


class Tally:
    """Shares of right answer tokens and of wholly right answers by task and length, kept on the device."""

    def __init__(self, tasks, lengths, device):
        self.tasks, self.lengths = tasks + ["warm-up"], sorted(lengths)
        self.sums = torch.zeros(len(self.tasks) * len(self.lengths), 3, device=device)

    def add(self, batch, right):
        rows = len(batch.ids)
        task = batch.task if batch.task is not None else torch.full((rows,), len(self.tasks) - 1, device=right.device)
        count = torch.zeros(rows, device=right.device).index_add_(0, batch.cell, torch.ones_like(batch.weight))
        hits = torch.zeros(rows, device=right.device).index_add_(0, batch.cell, right.float())
        terms = torch.stack([hits / count, (hits == count).float(), torch.ones_like(hits)], 1)
        self.sums.index_add_(0, self.lengths.index(batch.length) * len(self.tasks) + task, terms)

    def take(self):
        out = {}
        for i, (tokens, whole, n) in enumerate(self.sums.tolist()):
            if n:
                name = f"{self.tasks[i % len(self.tasks)]}@{self.lengths[i // len(self.tasks)]}"
                out[name] = [round(tokens / n, 3), round(whole / n, 3)]
        self.sums.zero_()
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=mini.SIZES)
    parser.add_argument("--data", required=True, help="folder of files from frontier tasks export")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--tokens", type=int, default=131072, help="a step, above length 1024; half of it below")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    a.out.mkdir(parents=True, exist_ok=True)
    cuda = a.device.startswith("cuda")

    net = mini.Decoder(a.size).to(a.device)
    muon_rate, adam_rate = RATES[a.size]
    hidden = [p for n, p in net.named_parameters() if p.dim() == 2 and "embed" not in n]
    embed = [p for n, p in net.named_parameters() if "embed" in n]
    vectors = [p for p in net.parameters() if p.dim() != 2]
    muon = Muon(hidden, muon_rate)
    adam = torch.optim.AdamW([dict(params=embed, weight_decay=0.1), dict(params=vectors, weight_decay=0)],
                             lr=adam_rate, betas=(0.9, 0.95), fused=cuda)
    step, tokens, before = 0, 0, 0.0
    saved = a.out / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, map_location=a.device)
        net.load_state_dict(state["net"])
        adam.load_state_dict(state["adam"])
        muon.momentum = state["muon"]
        step, tokens, before = state["step"], state["tokens"], state["seconds"]
    if not a.eager:
        torch._dynamo.config.cache_size_limit = 64
        for layer in net.layers:
            layer.compile(dynamic=False)

    samples = batches.Samples(a.data)
    schedule = Schedule(samples.rows, a.tokens)
    if saved.exists():
        schedule.index, schedule.begun = state["stage"]
    loader = batches.Loader(samples, schedule.draw, MIX, a.seed + step)
    log = open(a.out / "log.jsonl", "a", buffering=1)
    versions = {"torch": torch.__version__, "python": platform.python_version(),
                "device": torch.cuda.get_device_name() if cuda else "cpu"}
    log.write(json.dumps({"size": a.size, "parameters": sum(p.numel() for p in net.parameters()), "seed": a.seed,
                          "minutes": a.minutes, "from_step": step, **versions}) + "\n")

    def save():
        torch.save({"net": mini.plain_state(net), "adam": adam.state_dict(), "muon": muon.momentum, "step": step,
                    "tokens": tokens, "seconds": before + time.time() - start, "stage": (schedule.index, schedule.begun)},
                   saved.with_suffix(".tmp"))
        saved.with_suffix(".tmp").rename(saved)
        mini.save_checkpoint(net, a.out / "model")

    start = last_save = time.time()
    skill = 0.0  # share of right answers in the warm-up, lately
    tally = Tally(samples.tasks, {n + room for n, *_ in STAGES for room in (0, batches.ANSWER_ROOM)}, a.device)
    random = numpy.random.default_rng(a.seed + step)
    while True:
        share = (before + time.time() - start) / (60 * a.minutes)
        if schedule.advance(share, skill > MASTERED):
            skill = 0.0
        if share >= 1:
            break
        stage, warm = schedule.stage()
        if random.random() < warm:
            width = stage if warm == 1.0 else stage + batches.ANSWER_ROOM
            batch = batches.warm_up(width, schedule.rows(width), mini.VOCABULARY, random, a.device)
        else:
            batch = loader.get().to(a.device)

        factor = min(1, (step + 1) / 100) * min(1, (1 - share) / DECAY + 0.01)
        for group in adam.param_groups:
            group["lr"] = adam_rate * factor
        with torch.autocast(a.device.split(":")[0], torch.bfloat16):
            answer, context, right = losses(net, batch)
            loss = answer + CONTEXT_WEIGHT * context
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        muon.step(factor)
        adam.step()
        adam.zero_grad(set_to_none=True)
        step += 1
        tokens += batch.ids.numel()

        if step % 5 == 0:
            tally.add(batch, right)
        if warm == 1.0 and step % 10 == 0:
            skill += 0.1 * (right.float().mean().item() - skill)
        if step % 100 == 0:
            log.write(json.dumps({
                "step": step, "seconds": round(before + time.time() - start, 1), "tokens": tokens, "stage": stage,
                "answer_loss": round(answer.item(), 4), "context_loss": round(context.item(), 4),
                "right": tally.take()}) + "\n")
            if time.time() - last_save > 120:
                last_save = time.time()
                save()
    save()
    log.write(json.dumps({"done": True, "step": step, "tokens": tokens,
                          "seconds": round(before + time.time() - start, 1)}) + "\n")


if __name__ == "__main__":
    main()
