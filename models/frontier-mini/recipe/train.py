"""Trains one size of the frontier-mini family on one GPU.

    python3 models/frontier-mini/recipe/make_data.py DATA --steps 9000
    python3 models/frontier-mini/recipe/train.py l --data DATA --out OUT --minutes 20
    python3 models/frontier-mini/recipe/train.py l --data DATA2 --out OUT2 --minutes 12 --polish OUT/model --rate 0.005
    python3 models/frontier-mini/recipe/train.py m --attention asentmax --data DATA --out OUT3 --minutes 25 --stop 8
    python3 models/frontier-mini/recipe/train.py s --seeds 3 --out WARM --until-mastered
    python3 models/frontier-mini/recipe/train.py s --attention entmax15 --begin WARM --data DATA --out OUT4 --minutes 14 --steps 9000
    python3 models/frontier-mini/recipe/train.py s --attention asentmax --time 4096
    python3 models/frontier-mini/recipe/train.py m --attention dsa_warm --data DATA --out OUT5 --minutes 3 --polish models/frontier-mini/m
    python3 models/frontier-mini/recipe/train.py m --attention dsa --data DATA --out OUT6 --minutes 8 --polish OUT5/model

No row is learned from twice, unless --epochs says so: a training that lacks rows is refused, or, where its end is not known, saved and ended
(status 4), to go on once make_data.py made more. At the end of a stage and of the call it prints how it answers rows that it learned from and rows that no
training sees (heart.py). Weights, losses and gradients that are not finite end it (status 5), naming step and tensor, and are not saved.

Muon on the hidden matrices, AdamW on embeddings, norms and biases; lengths grow; warm-up rows fade; tasks that are still
answered wrongly are drawn more often. First comes the warm-up, until it is mastered: several seeds learn rows of 64 tokens side by
side, the first that masters them goes on, and if none does within --patience steps, that is said and the training ends (status 3). What
--minutes and --steps say begins after it, so that a kind which is slow to learn to look things up has as much of the rest as another.
--begin: the warm-up was softmax's, in a training that ended with --until-mastered (which takes no data); a kind that computes something else in
rows that short goes through the warm-up's stages once more, from these weights, until it has mastered them as it attends. Or WARM is a trained
softmax model's folder, with which every kind may begin behind the warm-up.
Logs a JSON line every 100 steps (share of answer tokens and of whole answers that are right, by task and length, before the step learns
from them) and prints where it stands and what is left; saves OUT/checkpoint.pt and OUT/model every two minutes (--save) (OUT/race.pt while several
seeds learn), and goes on from the checkpoint when started again; without it from OUT/model, which is a fifth of its size (the optimisers
then begin anew: what they remember is of the last 50 steps). A whole step is one CUDA graph a shape: these models are so small that
launches would take longer than the work.
"""
import argparse
import collections
import contextlib
import fcntl
import json
import os
import pathlib
import platform
import tempfile
import time

BEGUN = time.time()  # --stop is of the call, whose imports take seconds

import numpy
import torch
import torch.nn.functional as F

import batches
import heart
import kinds
import model as mini

# The warm-up: length of rows, and at most so many steps of them (None: --patience). A stage ends as soon as it is mastered (MASTERED of its
# answers right): a model that has not learned to look things up learns nothing else, and one that has not in the shortest rows does not go on.
WARM_UP = [(64, None), (128, 2000), (256, 2000)]
# Then the stages: length, share of warm-up rows that is left, share of the training.
STAGES = [(512, 0.3, 0.10), (1024, 0.1, 0.12), (2048, 0.0, 0.15), (4096, 0.0, 0.21), (8192, 0.0, 1.0)]
LENGTHS = [n for n, *_ in WARM_UP + STAGES]
MASTERED = 0.9
MIX = {"niah": 0.15, "vt": 0.18, "cwe": 0.14, "story_retrieval": 0.17, "story_multihop": 0.19, "story_filtering": 0.17}
RATES = {"s": (0.02, 3e-3), "m": (0.015, 2e-3), "l": (0.015, 2e-3)}  # Muon, AdamW
CONTEXT_WEIGHT = 0.05   # of the loss on ordinary context tokens
DECAY = 0.35            # last share of the time in which the rates fall to zero; all of it where it begins with a trained model


class Muon:
    """Orthogonalised momentum for matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/)."""

    def __init__(self, matrices, rate):
        self.rate, self.groups = rate, collections.defaultdict(list)
        for p in matrices:
            self.groups[tuple(p.shape)].append(p)
        self.momentum = {s: torch.zeros(len(g), *s, device=g[0].device) for s, g in self.groups.items()}

    def state(self):
        return list(self.momentum.values())

    @torch.no_grad()
    def step(self, factor):
        for shape, group in self.groups.items():
            gradient, momentum = torch.stack([p.grad for p in group]), self.momentum[shape]
            momentum.lerp_(gradient, 0.05)
            update = gradient.lerp(momentum, 0.95)
            update = update.bfloat16() if update.is_cuda else update
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
            update = update.float() * (rate * max(1, shape[0] / shape[1]) ** 0.5)
            torch._foreach_mul_(group, 1 - rate * 0.02)
            torch._foreach_sub_(group, list(update.unbind()))


class AdamW:
    """As torch.optim.AdamW, with every changing number on the device, so that a graph can replay its step."""

    def __init__(self, parameters, rate, decay):
        self.parameters, self.rate, self.decay = parameters, rate, decay
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]
        self.count = torch.zeros((), device=parameters[0].device)

    def state(self):
        return [*self.mean, *self.square, self.count]

    @torch.no_grad()
    def step(self, factor):
        gradients, rate = [p.grad for p in self.parameters], self.rate * factor
        self.count += 1
        torch._foreach_lerp_(self.mean, gradients, 0.1)
        torch._foreach_mul_(self.square, 0.95)
        torch._foreach_addcmul_(self.square, gradients, gradients, 0.05)
        root = torch._foreach_sqrt(self.square)
        torch._foreach_mul_(root, (1 - 0.95 ** self.count).rsqrt())
        torch._foreach_add_(root, 1e-8)
        update = torch._foreach_div(self.mean, root)
        torch._foreach_mul_(update, rate / (1 - 0.9 ** self.count))
        torch._foreach_mul_(self.parameters, 1 - rate * self.decay)
        torch._foreach_sub_(self.parameters, update)


class Schedule:
    """Length and rows of batches as warm-up is mastered and the training passes; tasks as they are mastered."""

    def __init__(self, available, tokens, mix):
        self.available, self.tokens, self.index, self.begun = sorted(available), tokens, 0, 0
        self.share, self.mix = mix, dict(mix)

    def warming(self):
        return self.index < len(WARM_UP)

    def stage(self):
        """Length and share of warm-up rows now."""
        return (WARM_UP[self.index][0], 1.0) if self.warming() else STAGES[self.index - len(WARM_UP)][:2]

    def advance(self, step, share, mastered):
        """After `step` steps, `share` of the training behind the warm-up; `mastered`: the stage's warm-up is. True if a new stage begins."""
        if self.warming():
            most = WARM_UP[self.index][1]
            over = mastered or (most is not None and step - self.begun >= most)
        else:
            over = self.index + 1 < len(WARM_UP + STAGES) and share - self.begun >= STAGES[self.index - len(WARM_UP)][2]
        if over:
            self.index += 1
            self.begun = step if self.warming() else share
        return over

    def rows(self, width):
        return max(1, min(self.tokens, max(self.tokens // 4, 64 * width)) // width)

    def draw(self, random):
        """Length, rows and mix of the next batch of samples: the stage's length, or, once it is long, often a shorter one."""
        length = self.stage()[0]
        lengths = [n for n in self.available if n <= length] or self.available[:1]
        drawn = lengths[-1]
        if length >= 2048 and len(lengths) > 1 and random.random() < 0.5:
            drawn = int(random.choice(lengths[:-1]))
        return drawn, self.rows(drawn + batches.ANSWER_ROOM), self.mix

    def needed(self, steps):
        """{length: rows} that so many steps behind the warm-up take, in the mean."""
        out, left = collections.Counter(), 1.0
        for length, warmth, share in STAGES:
            share = left if length == STAGES[-1][0] else min(share, left)
            left -= share
            lengths = [n for n in self.available if n <= length] or self.available[:1]
            shorter = lengths[:-1] if length >= 2048 else []
            for n in lengths[-1:] + shorter:
                part = 1 if not shorter else 0.5 if n == lengths[-1] else 0.5 / len(shorter)
                out[n] += round(steps * share * (1 - warmth) * part * self.rows(n + batches.ANSWER_ROOM))
        return out

    def learn(self, right):
        """Draws tasks that are answered wrongly more often. `right`: as Tally.take gives it."""
        for task, share in self.share.items():
            seen = [whole for name, (_, whole) in right.items() if name.startswith(task + "@")]
            if seen:
                self.mix[task] = share * (0.25 + 1 - sum(seen) / len(seen))


class Tally:
    """Shares of right answer tokens and of wholly right answers by task and length, kept on the device."""

    def __init__(self, tasks, widths, device):
        self.tasks, self.widths = tasks + ["warm-up"], sorted(widths)
        self.sums = torch.zeros(len(self.tasks) * len(self.widths), 3, device=device)

    def add(self, batch, right):
        """`right`: bool, one an answer token of `batch`; places with weight 0 do not count."""
        rows, width = batch.ids.shape
        counted = (batch.weight > 0).float()
        count = torch.zeros(rows, device=right.device).index_add_(0, batch.cell, counted)
        hits = torch.zeros(rows, device=right.device).index_add_(0, batch.cell, right.float() * counted)
        asked = (count > 0).float()  # a row whose answer fell off the batch says nothing
        terms = torch.stack([hits / count.clamp(min=1), (hits == count) * asked, asked], 1)
        self.sums.index_add_(0, self.widths.index(width) * len(self.tasks) + batch.task, terms)

    def take(self):
        out = {}
        for i, (tokens, whole, n) in enumerate(self.sums.tolist()):
            if n:
                name = f"{self.tasks[i % len(self.tasks)]}@{self.widths[i // len(self.tasks)]}"
                out[name] = [round(tokens / n, 3), round(whole / n, 3)]
        self.sums.zero_()
        return out


HIDDEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def hidden(name):
    """Whether a parameter is one of the matrices that every kind of attention has; what a kind adds is small."""
    return name.endswith(tuple(f"{m}.weight" for m in HIDDEN)) and "attn_scale" not in name


class Trainer:
    """Model, optimisers and the step on a batch; on a GPU a graph for each shape of batches."""

    def __init__(self, size, attention, tasks, widths, device, compiled, graph=True):
        self.net = mini.Decoder(size, attention).to(device)
        for name, p in self.net.named_parameters():
            p.requires_grad_(self.net.attention.trains(name))
        named = [(n, p) for n, p in self.net.named_parameters() if p.requires_grad]
        muon_rate, adam_rate = RATES[size]
        groups = [
            (Muon, [p for n, p in named if hidden(n)], muon_rate),
            (AdamW, [p for n, p in named if "embed" in n], adam_rate, 0.1),
            (AdamW, [p for n, p in named if not hidden(n) and "embed" not in n], adam_rate, 0.0),
        ]
        self.optimisers = [make(parameters, *rates) for make, parameters, *rates in groups if parameters]
        self.tally = Tally(tasks, widths, device)
        self.device, self.graphs = device, {} if graph and device.startswith("cuda") else None
        self.factor = torch.zeros((), device=device)  # of the rates
        self.skill = torch.zeros((), device=device)   # share of right answers in the warm-up, lately
        self.loss = torch.zeros(2, device=device)     # on answers, on the context
        self.learning = [p for _, p in named]
        self.watched = ["the loss on answers", "the loss on the context", *(f"the gradient of {n}" for n, _ in named)]
        self.sick = torch.full((len(self.watched),), -1, dtype=torch.int32, device=device)  # the step at which each was not finite first
        self.number = torch.zeros((), dtype=torch.int32, device=device)                     # of the step
        self.stream = torch.cuda.Stream() if device.startswith("cuda") else None
        if compiled:
            torch._dynamo.config.cache_size_limit = 192  # layers of several seeds
            for layer in self.net.layers:
                layer.compile(dynamic=True)

    def turn(self):
        """A step, and whatever reads or writes what steps change, is done within: several trainers share the card, a stream each."""
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def state(self):
        """Every tensor that a step changes, in a fixed order."""
        return [*self.net.parameters(), *(t for o in self.optimisers for t in o.state()), self.skill, self.tally.sums]

    def named_state(self):
        """(name, tensor) of state()."""
        names = [n for n, _ in self.net.named_parameters()]
        return [(names[i] if i < len(names) else f"state {i - len(names)} of the optimisers", t) for i, t in enumerate(self.state())]

    def learn(self, batch):
        """Forward, backward and both optimisers; what is to be known of the step stays on the device."""
        for p in self.net.parameters():
            p.grad = None
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda"), cache_enabled=False):
            hidden, target = self.net(batch.ids).flatten(0, 1), batch.ids.flatten()
            logits, wanted = self.net.logits(hidden[batch.answer]).float(), target[batch.answer + 1].long()
            answer = (F.cross_entropy(logits, wanted, reduction="none") * batch.weight).sum() / batch.weight.sum()
            context = F.cross_entropy(self.net.logits(hidden[batch.context]).float(), target[batch.context + 1].long())
            own = [layer.self_attn.loss for layer in self.net.layers if layer.self_attn.loss is not None]
            loss = answer + CONTEXT_WEIGHT * context + sum(own)
        loss.backward()
        gradients = [p.grad for p in self.learning]
        norms = torch.stack(torch._foreach_norm(gradients))
        torch._foreach_mul_(gradients, (1 / (norms.norm() + 1e-6)).clamp(max=1))
        with torch.no_grad():
            wrong = ~torch.cat([torch.stack([answer, context]), norms]).isfinite()
            self.sick.copy_(torch.where(wrong & (self.sick < 0), self.number, self.sick))
        for optimiser in self.optimisers:
            optimiser.step(self.factor)
        with torch.no_grad():
            right = logits.argmax(-1) == wanted
            self.tally.add(batch, right)
            self.skill.lerp_((right & (batch.weight > 0)).sum() / (batch.weight > 0).sum(), 0.02)
            self.loss.copy_(torch.stack([answer, context]))

    def ill(self):
        """None, or the first step at which a loss or gradient was not finite, and which: of several the one nearest the loss, where backward met
        it first."""
        when = self.sick.tolist()
        if max(when) < 0:
            return None
        first = min(n for n in when if n >= 0)
        names = [name for name, n in zip(self.watched, when) if n == first]
        return first, names[0] if when[0] == first or when[1] == first else names[-1], len(names)

    def capture(self, batch):
        """Makes the graph for batches shaped as this one; leaves the state as it was."""
        changed = [*self.state(), self.sick]
        kept, batch = [t.detach().clone() for t in changed], batch.to(self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.learn(batch)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # In a stream of its own: cuBLAS's workspace goes with the stream, and two graphs at once that share one wait for each other for ever.
        with torch.cuda.graph(graph, pool=next(iter(self.graphs.values()))[0].pool() if self.graphs else None, stream=self.stream):
            self.learn(batch)
        with torch.no_grad():
            for t, value in zip(changed, kept):
                t.copy_(value)
        self.graphs[batch.shape()] = graph, batch

    def step(self, batch, factor, number=0):
        """Learns from a batch at `factor` of the rates, as step `number`. Returns the seconds that making its graph took."""
        self.factor.fill_(factor)
        self.number.fill_(number)
        if self.graphs is None:
            self.learn(batch.to(self.device))
            return 0.0
        begun, new = time.time(), batch.shape() not in self.graphs
        if new:
            self.capture(batch)
            torch.cuda.synchronize()
        building = time.time() - begun if new else 0.0
        graph, place = self.graphs[batch.shape()]
        place.fill(batch)
        graph.replay()
        return building


def measure(trainer, schedule, lengths, polished):
    """Milliseconds of a step at each length, the card to itself, and their mean over a training, warm-up aside (polished: over its last stage). What a step costs does not depend on what the tokens are; of entmax it falls as more weights become zero."""
    took = {}
    for length in lengths:
        width = length if length < 512 else length + batches.ANSWER_ROOM
        rows = schedule.rows(width)

        def places(n, below=rows * width - 1):
            return torch.randint(0, below, (n,), device=trainer.device)

        n = rows * batches.ANSWER_PLACES
        batch = batches.Batch(places(rows * width, mini.VOCABULARY).view(rows, width).int(), places(n),
                              torch.ones(n, device=trainer.device), places(n, rows), places(batches.CONTEXT_SAMPLE), places(rows, 1))
        trainer.step(batch, 0.1)
        card = "".join(c for c in os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "") + os.environ.get("CUDA_VISIBLE_DEVICES", "") if c.isalnum())
        with open(pathlib.Path(tempfile.gettempdir()) / f"frontier-mini-time{card}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kinds are timed one after the other
            times = []
            for n in (2, 4, 4, 4):
                begun = time.time()
                for _ in range(n):
                    trainer.step(batch, 0.1)
                loss = trainer.loss.sum().item()
                times.append((time.time() - begun) / n * 1e3)
            took[length] = min(times[1:])  # others may be on the card meanwhile, making their graphs
        if not numpy.isfinite(loss):
            raise SystemExit(f"length {length}: the loss is {loss}")
    mean, left = 0.0, 1.0
    for length, _, share in STAGES[:len(lengths) - len(WARM_UP)]:
        share = left if length == lengths[-1] else 0 if polished else share
        shorter = [took[n] for n in lengths if 512 <= n < length] if length >= 2048 else []
        mean += share * (took[length] if not shorter else (took[length] + sum(shorter) / len(shorter)) / 2)  # as Schedule.draw
        left -= share
    return took, mean


def entered(a, seed, tasks, widths):
    """A trainer whose weights begin as the seed has them."""
    torch.manual_seed(seed)
    trainer = Trainer(a.size, a.attention, tasks, widths, a.device, not a.eager, not a.no_graph)
    if trainer.stream:
        torch.cuda.synchronize()  # what made it ran in another stream
    return trainer


def begin(net, folder):
    """Gives `net` softmax's weights: those of a training behind its warm-up, or of a model's folder; what a kind has beyond softmax's model stays.
    Returns the warm-up's stages, or the folder's name."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        if not any(folder.glob("model*.safetensors")):
            raise SystemExit(f"--begin {folder}: neither checkpoint.pt of a training by softmax nor a model's safetensors")
        softmax = {name for name, _ in mini.Decoder(net.size).named_parameters()}
        mini.load_checkpoint(net, folder, lambda name: name not in softmax)
        return str(folder)
    state = torch.load(path, map_location="cpu")
    if state["attention"] != "softmax" or state["base"] is None:
        raise SystemExit(f"--begin {folder}: expected a training by softmax that has mastered its warm-up, found {state['attention']} at step {state['step']}")
    given, own = dict(zip(state["names"], state["tensors"][0])), dict(net.named_parameters())
    if unknown := [n for n in given if n not in own]:
        raise SystemExit(f"--begin {folder}: {unknown[0]} is not of this model")
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)
    return [[f"{stage} by softmax", *rest] for stage, *rest in state["warm_up"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=mini.SIZES)
    parser.add_argument("--attention", choices=kinds.KINDS, default="softmax", help="kinds/NAME.py (default softmax)")
    parser.add_argument("--data", help="folder of files from frontier tasks export")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=20, help="of the training behind the warm-up")
    parser.add_argument("--steps", type=int, help="the training behind the warm-up has so many, or as many as its minutes leave")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="so many learn the shortest rows, from --seed on; the first that masters them goes on")
    parser.add_argument("--epochs", type=int, default=1, help="how often a row may be learned from")
    parser.add_argument("--wait", type=float, default=0, metavar="MINUTES", help="for more data (make_data.py) where there is no more")
    parser.add_argument("--mastered", type=float, default=MASTERED, metavar="SHARE", help="of answers that are right, at which a warm-up stage is over")
    parser.add_argument("--save", type=float, default=120, metavar="SECONDS", help="between checkpoints, which are looked for every 100 steps")
    parser.add_argument("--patience", type=int, default=20000, metavar="STEPS", help="the shortest rows are mastered in so many, or that is all")
    parser.add_argument("--begin", type=pathlib.Path, metavar="WARM",
                        help="with the weights of this training by softmax, which has mastered the warm-up; or of this softmax model's folder, in the first stage "
                             "behind the warm-up, without its rows, the rates falling all the time")
    parser.add_argument("--until-mastered", action="store_true", help="end this call behind the warm-up")
    parser.add_argument("--time", type=int, metavar="LENGTH", help="take a few steps at each length up to this one, print what they took, and end")
    parser.add_argument("--stop", type=float, metavar="MINUTES", help="save and end this call after so many, to go on later")
    parser.add_argument("--tokens", type=int, default=131072,
                        help="a step, at length 2048 and above; a quarter of it at the shortest")
    parser.add_argument("--rate", type=float, help="Muon's rate, in place of the size's own; AdamW's go along")
    parser.add_argument("--polish", metavar="MODEL",
                        help="begin with the weights of this folder (a softmax model's, for kinds that begin with one), in the last stage, "
                             "and let the rates fall all the time")
    parser.add_argument("--mix", metavar="TASK=FACTOR,...", default="", help="draw a task more or less often")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--no-graph", action="store_true", help="launch a step's kernels one by one")
    a = parser.parse_args()
    if not a.time and not (a.out and (a.data or a.until_mastered)):
        parser.error("--data and --out are needed to train")
    if a.begin and a.polish:
        parser.error("--begin, --polish: one of them")
    if a.time and a.time < STAGES[0][0]:
        parser.error(f"--time {a.time}: expected {STAGES[0][0]} or more")
    torch.set_float32_matmul_precision("high")
    if a.time:
        lengths = [n for n in LENGTHS if n <= a.time]
        widths = [n if n < 512 else n + batches.ANSWER_ROOM for n in lengths]
        trainer = entered(a, a.seed, ["any"], widths)
        with trainer.turn():
            took, mean = measure(trainer, Schedule(lengths, a.tokens, MIX), lengths, bool(a.polish))
        print(json.dumps({"attention": a.attention, "size": a.size, "tokens": a.tokens, "compiled": not a.eager,
                          "graph": trainer.graphs is not None, "mean_ms": round(mean, 2), "ms": {n: round(ms, 2) for n, ms in took.items()}}))
        return
    a.out.mkdir(parents=True, exist_ok=True)
    if a.rate:
        RATES[a.size] = a.rate, RATES[a.size][1] * a.rate / RATES[a.size][0]

    mix = dict(MIX)
    for task, factor in (pair.split("=") for pair in a.mix.split(",") if pair):
        if task not in mix:
            raise SystemExit(f"--mix {task}: expected one of {', '.join(mix)}")
        mix[task] *= float(factor)

    samples = batches.Samples(a.data, a.epochs, a.wait) if a.data else None
    unseen = heart.unseen_of(samples) if samples else None
    tasks = samples.tasks if samples else sorted(MIX)
    schedule = Schedule(samples.rows if samples else [n for n, *_ in STAGES], a.tokens, mix)
    widths = {n + room for n in LENGTHS for room in (0, batches.ANSWER_ROOM)}
    saved, short = a.out / "checkpoint.pt", a.out / "model" / "progress.json"
    state = torch.load(saved, map_location=a.device) if saved.exists() else json.loads(short.read_text()) if short.exists() else None
    if state and state["attention"] != a.attention:
        raise SystemExit(f"{a.out}: its checkpoint is of --attention {state['attention']}")
    seeds = state["seeds"] if state else [a.seed] if a.polish or a.begin else list(range(a.seed, a.seed + a.seeds))
    field = [entered(a, seed, tasks, widths) for seed in seeds]  # several while they race, then one
    step, tokens, before = 0, 0, 0.0
    base = None  # step and seconds at which the warm-up was over
    warm = []    # of its stages: length, steps, shares of right answers of each seed at the end
    cold = 0     # the step at which the optimisers began
    begun = state.get("begun") if state else None  # stages of the warm-up that softmax went through in its place
    if state:
        step, tokens, before, base, warm = (state[name] for name in ("step", "tokens", "seconds", "base", "warm_up"))
        (schedule.index, schedule.begun), schedule.mix = state["stage"], state["mix"]
        if "drawn" not in state:
            print(f"{a.attention}: the checkpoint does not say which rows were learned from: the first ones come again")
        if samples:
            samples.drawn.update(state.get("drawn", {}))
        for trainer, kept in zip(field, state.get("tensors") or [None]):
            with torch.no_grad(), trainer.turn():
                if kept is None:
                    mini.load_checkpoint(trainer.net, short.parent)
                    cold = step
                else:
                    for t, value in zip(trainer.state(), kept, strict=True):
                        t.copy_(value)
    elif a.polish:
        with field[0].turn():
            mini.load_checkpoint(field[0].net, a.polish, field[0].net.attention.begins_without)
        schedule.index, base = len(WARM_UP + STAGES) - 1, (0, 0.0)
    elif a.begin:
        with field[0].turn():
            begun = begin(field[0].net, a.begin)
        if isinstance(begun, str) or field[0].net.attention.softmax_to >= WARM_UP[-1][0]:
            schedule.index, base = len(WARM_UP), (0, 0.0)
    goes_on = bool(a.polish) or isinstance(begun, str)  # with what a trained model knows: rates fall all the time, no warm-up rows
    decay = 1.0 if goes_on else DECAY
    if samples and a.steps and not a.wait and not a.polish:
        lacking = []
        for length, rows in schedule.needed(a.steps).items():
            there = a.epochs * sum(map(len, samples.rows[length].values()))
            if there < rows:
                lacking.append(f"{rows} rows of {length}, {there} are there")
        if lacking:
            raise SystemExit(f"{a.data}: {a.steps} steps take {'; '.join(lacking)}. Make more (make_data.py {a.data} --steps {a.steps}), or "
                             "learn from rows more than once (--epochs), or wait for what is being made (--wait)")
    loader = batches.Loader(samples, schedule.draw, a.seed + step) if samples else None
    log = open(a.out / "log.jsonl", "a", buffering=1)
    versions = {"torch": torch.__version__, "python": platform.python_version(),
                "device": torch.cuda.get_device_name() if a.device.startswith("cuda") else "cpu"}
    log.write(json.dumps({"size": a.size, "attention": a.attention, "parameters": sum(p.numel() for p in field[0].net.parameters()), "seeds": seeds,
                          "minutes": a.minutes, "steps": a.steps, "patience": a.patience, "rates": RATES[a.size], "polish": a.polish, "begun": begun,
                          "mix": mix, "from_step": step, **versions}) + "\n")

    randoms = [numpy.random.default_rng(seed + step) for seed in seeds]
    seconds, building, last_save = before, 0.0, before  # of training; of making graphs, which do not count
    planned, lately, said = a.steps, (before, step), (before, step)  # steps; seconds and step a while ago, and when it last said where it stands
    start = time.time()

    def skills():
        out = []
        for trainer in field:
            with trainer.turn():
                out.append(round(trainer.skill.item(), 3))
        return out

    def require_health():
        """Ends the program where a seed's losses, gradients or state are not finite; what was saved before stays."""
        kept = f"{saved} is of step {at_save}" if at_save is not None else "nothing was saved before"
        for seed, trainer in zip(seeds, field):
            with trainer.turn():
                ill = trainer.ill()
                named = [] if ill else [(n, t) for n, t in trainer.named_state() if not t.isfinite().all()]
            if ill or named:
                found = f"{ill[1]} is not finite since step {ill[0]}" + f" (with {ill[2] - 1} others)" * (ill[2] > 1) if ill else f"{named[0][0]} is not finite at step {step}"
                print(f"{a.attention}, seed {seed}: {found}. The training ends here, and nothing is saved; {kept}", flush=True)
                log.write(json.dumps({"step": step, "not_finite": found}) + "\n")
                raise SystemExit(5)

    def compare():
        """Prints and logs how rows are answered that were learned from, beside unseen ones."""
        if unseen is None or schedule.warming():
            return
        with field[0].turn():
            net = mini.Decoder(a.size, a.attention).to(a.device).eval()  # not the compiled one, whose code is for training
            net.load_state_dict(mini.plain_state(field[0].net))
            lengths = [n for n in samples.rows if n <= schedule.stage()[0]]
            found = heart.compare(net, samples, loader.given, unseen, sorted(lengths), a.device)
        for line in heart.said(found):
            print(f"{a.attention}: step {step}, {line}", flush=True)
        if found:
            log.write(json.dumps({"step": step, "seen_unseen": found}) + "\n")

    def save():
        nonlocal at_save
        progress = {"attention": a.attention, "step": step, "tokens": tokens, "seconds": seconds, "base": base, "warm_up": warm, "begun": begun,
                    "stage": (schedule.index, schedule.begun), "mix": schedule.mix, "drawn": loader.given if loader else {}}
        require_health()
        if a.device.startswith("cuda"):
            torch.cuda.synchronize()
        torch.save({"names": [n for n, _ in field[0].net.named_parameters()], "tensors": [[t.detach() for t in trainer.state()] for trainer in field],
                    "seeds": seeds, **progress}, saved.with_suffix(".tmp"))
        saved.with_suffix(".tmp").rename(saved)
        best = max(range(len(field)), key=skills().__getitem__)
        mini.save_checkpoint(field[best].net, a.out / "model")
        short.write_text(json.dumps({**progress, "seeds": [seeds[best]]}) + "\n")
        at_save = step

    def say():
        """Where it stands and what is left, at the pace since it was last said."""
        pace = (seconds - said[0]) / max(step - said[1], 1)
        if schedule.warming():
            most = (WARM_UP[schedule.index][1] or a.patience) + schedule.begun
            shares = ", ".join(f"{skill:.3f} (seed {seed})" for skill, seed in zip(skills(), seeds))
            where = f"step {step}, rows of {schedule.stage()[0]}: {shares} right of {a.mastered}; at most {pace * (most - step):.0f} s more"
        else:
            left = pace * (planned - step + base[0]) if planned else 60 * a.minutes - seconds + base[1]
            where = f"step {step}{f' of {planned + base[0]}' if planned else ''}, rows of {schedule.stage()[0]}; {max(0, left):.0f} s more"
        print(f"{a.attention}: {where}; {1e3 * pace:.1f} ms a step", flush=True)

    share, status, at_save = 0.0, 0, step if state else None
    while True:
        seconds = before + time.time() - start - building
        if not schedule.warming():
            share = (step - base[0]) / planned if a.steps else (seconds - base[1]) / (60 * a.minutes)
        mastered, given_up = False, False
        late = schedule.warming() and WARM_UP[schedule.index][1] is None and step - schedule.begun >= a.patience
        if schedule.warming() and (step % 20 == 0 or late):
            right = skills()
            mastered = max(right) > a.mastered
            given_up = late and not mastered
        stage, warming = schedule.stage()[0], schedule.warming()
        ended = None if schedule.warming() else schedule.index
        if not given_up and schedule.advance(step, share, mastered):
            if warming:
                right = skills()
                warm.append([stage, step - sum(n for _, n, _ in warm), dict(zip(map(str, seeds), right))])
                best = right.index(max(right))
                field, seeds, randoms = [field[best]], [seeds[best]], [randoms[best]]
                print(f"{a.attention}: rows of {stage} {'mastered' if mastered else 'not mastered'} after {step} steps, {seconds:.0f} s, seed {seeds[0]}", flush=True)
                with field[0].turn():
                    field[0].skill.zero_()
                lately = said = seconds, step
            if not schedule.warming() and base is None:
                base = step, seconds
            if ended is not None:
                compare()
        if given_up:
            status = 3
            print(f"{a.attention}: no seed of {', '.join(map(str, seeds))} mastered rows of {stage} in {step - schedule.begun} steps ({seconds:.0f} s): the best has "
                  f"{max(right)} of their answers right, {a.mastered} is asked. It would learn none of the tasks, and ends here.", flush=True)
        if share >= 1 or status or (a.until_mastered and not schedule.warming()) or (a.stop and time.time() - BEGUN >= 60 * a.stop):
            break
        length, warmth = schedule.stage()
        warmth = 0.0 if goes_on else warmth
        ahead = min(1, (step - cold + 1) / 100) * (1 if schedule.warming() else min(1, (1 - share) / decay + 0.01))
        warm_rows = randoms[0].random() < warmth
        for trainer, random in zip(field, randoms):
            with trainer.turn():
                if warm_rows:
                    width = length if warmth == 1.0 else length + batches.ANSWER_ROOM
                    batch = batches.warm_up(width, schedule.rows(width), mini.VOCABULARY, len(tasks), random, a.device)
                else:
                    try:
                        batch = loader.get()
                    except batches.Spent as spent:
                        status = 4
                        print(f"{a.attention}: {spent}. It is saved and ends here, to go on when there is more (make_data.py {a.data} --more 10; --epochs, --wait)", flush=True)
                        break
                building += trainer.step(batch, ahead, step + 1)
        if status:
            break
        step += 1
        tokens += batch.ids.numel()

        if a.steps and base and step % 100 == 0:  # where others share the card: as many as the time leaves at the pace of the last ones
            pace, lately = (step - lately[1]) / max(seconds - lately[0], 1e-3), (seconds, step)
            if seconds - base[1] > (1 - DECAY) * 60 * a.minutes:
                planned = min(a.steps, step - base[0] + max(1, int(pace * (60 * a.minutes - seconds + base[1]))))

        if step % 20 == 0:
            require_health()
        if step % 20 == 0 and seconds - said[0] > 10:
            say()
            said = seconds, step
        if step % 100 == 0:
            with field[0].turn():
                right, (answer, context) = field[0].tally.take(), field[0].loss.tolist()
            schedule.learn(right)
            log.write(json.dumps({
                "step": step, "seconds": round(seconds, 1), "building": round(building, 1), "tokens": tokens, "stage": length, "planned": planned,
                "answer_loss": round(answer, 4), "context_loss": round(context, 4), "right": right, "skill": dict(zip(map(str, seeds), skills())),
                "mix": {t: round(w, 2) for t, w in schedule.mix.items()}}) + "\n")
            if seconds - last_save > a.save:
                last_save = seconds
                save()
    save()
    compare()
    log.write(json.dumps({"done": share >= 1, "warming": schedule.warming(), "warm_up": warm, "step": step, "tokens": tokens,
                          "seconds": round(seconds, 1)}) + "\n")
    print(f"{a.attention}: {'done' if share >= 1 else 'stopped'} at step {step} after {seconds:.0f} s", flush=True)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
