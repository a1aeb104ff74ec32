"""Trains one size of the frontier-mini family on one GPU.

    frontier tasks export configs/mini-study.yaml --samples 20000 --seed 1 --out DATA/tasks.h5
    python3 models/frontier-mini/recipe/train.py l --data DATA --out OUT --minutes 20
    python3 models/frontier-mini/recipe/train.py l --data DATA2 --out OUT2 --minutes 12 --polish OUT/model --rate 0.005
    python3 models/frontier-mini/recipe/train.py m --attention asentmax --data DATA --out OUT3 --minutes 25 --stop 8
    python3 models/frontier-mini/recipe/train.py s --attention asentmax --data DATA --out OUT4 --minutes 14 --steps 9000
    python3 models/frontier-mini/recipe/train.py s --attention asentmax --time 4096
    python3 models/frontier-mini/recipe/train.py m --attention dsa_warm --data DATA --out OUT5 --minutes 3 --polish models/frontier-mini/m
    python3 models/frontier-mini/recipe/train.py m --attention dsa --data DATA --out OUT6 --minutes 8 --polish OUT5/model

Muon on the hidden matrices, AdamW on embeddings, norms and biases; lengths grow; warm-up rows fade; tasks that are still
answered wrongly are drawn more often. Logs a JSON line every 100 steps (share of answer tokens and of whole answers that
are right, by task and length, before the step learns from them); saves OUT/checkpoint.pt and OUT/model every two minutes,
and goes on from the checkpoint when started again; without it from OUT/model, which is a fifth of its size (the optimisers then
begin anew: what they remember is of the last 50 steps). A whole step is one CUDA graph a shape: these models are so small that
launches would take longer than the work.
"""
import argparse
import collections
import fcntl
import json
import pathlib
import platform
import tempfile
import time

import numpy
import torch
import torch.nn.functional as F

import batches
import kinds
import model as mini

# Stages: length, share of warm-up rows, least and most share of the time that the stage takes. The first ones end as soon
# as the warm-up is mastered (MASTERED of its answers right): a model that has not learned to look things up learns
# nothing else.
STAGES = [(64, 1.0, 0.01, 0.40), (128, 1.0, 0.01, 0.06), (256, 1.0, 0.01, 0.05), (512, 0.3, 0.10, 0.10),
          (1024, 0.1, 0.12, 0.12), (2048, 0.0, 0.15, 0.15), (4096, 0.0, 0.20, 0.20), (8192, 0.0, 1.0, 1.0)]
MASTERED = 0.9
MIX = {"niah": 0.15, "vt": 0.18, "cwe": 0.14, "story_retrieval": 0.17, "story_multihop": 0.19, "story_filtering": 0.17}
RATES = {"s": (0.02, 3e-3), "m": (0.015, 2e-3), "l": (0.015, 2e-3)}  # Muon, AdamW
CONTEXT_WEIGHT = 0.05   # of the loss on ordinary context tokens
DECAY = 0.35            # last share of the time in which the rates fall to zero; all of it where a checkpoint is polished


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
    """Length and rows of batches as time passes and warm-up is mastered; tasks as they are mastered."""

    def __init__(self, available, tokens, mix):
        self.available, self.tokens, self.index, self.begun = sorted(available), tokens, 0, 0.0
        self.share, self.mix = mix, dict(mix)

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
        return max(1, min(self.tokens, max(self.tokens // 4, 64 * width)) // width)

    def draw(self, random):
        """Length, rows and mix of the next batch of samples: the stage's length, or, once it is long, often a shorter one."""
        length = self.stage()[0]
        lengths = [n for n in self.available if n <= length] or self.available[:1]
        drawn = lengths[-1]
        if length >= 2048 and random.random() < 0.5:
            drawn = int(random.choice(lengths[:-1]))
        return drawn, self.rows(drawn + batches.ANSWER_ROOM), self.mix

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
        if compiled:
            torch._dynamo.config.cache_size_limit = 64
            for layer in self.net.layers:
                layer.compile(dynamic=True)

    def state(self):
        """Every tensor that a step changes, in a fixed order."""
        return [*self.net.parameters(), *(t for o in self.optimisers for t in o.state()), self.skill, self.tally.sums]

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
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step(self.factor)
        with torch.no_grad():
            right = logits.argmax(-1) == wanted
            self.tally.add(batch, right)
            self.skill.lerp_((right & (batch.weight > 0)).sum() / (batch.weight > 0).sum(), 0.02)
            self.loss.copy_(torch.stack([answer, context]))

    def capture(self, batch):
        """Makes the graph for batches shaped as this one; leaves the state as it was."""
        kept, batch = [t.detach().clone() for t in self.state()], batch.to(self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.learn(batch)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=next(iter(self.graphs.values()))[0].pool() if self.graphs else None):
            self.learn(batch)
        with torch.no_grad():
            for t, value in zip(self.state(), kept):
                t.copy_(value)
        self.graphs[batch.shape()] = graph, batch

    def step(self, batch, factor):
        """Learns from a batch at `factor` of the rates. Returns the seconds that making its graph took."""
        self.factor.fill_(factor)
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


def measure(trainer, schedule, lengths):
    """Milliseconds of a step at each length, the card to itself, and their mean over a whole training whose warm-up is mastered at once,
    which is the dearest. What a step costs does not depend on what the tokens are; of entmax it falls as more weights become zero."""
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
        with open(pathlib.Path(tempfile.gettempdir()) / "frontier-mini-time.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kinds are timed one after the other
            for n in (2, 8):
                begun = time.time()
                for _ in range(n):
                    trainer.step(batch, 0.1)
                loss = trainer.loss.sum().item()
                took[length] = (time.time() - begun) / n * 1e3
        if not numpy.isfinite(loss):
            raise SystemExit(f"length {length}: the loss is {loss}")
    mean, left = 0.0, 1.0
    for length, _, least, _ in STAGES[:len(lengths)]:
        share = left if length == lengths[-1] else least
        shorter = [took[n] for n in lengths if 512 <= n < length] if length >= 2048 else []
        mean += share * (took[length] if not shorter else (took[length] + sum(shorter) / len(shorter)) / 2)  # as Schedule.draw
        left -= share
    return took, mean


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("size", choices=mini.SIZES)
    parser.add_argument("--attention", choices=kinds.KINDS, default="softmax", help="kinds/NAME.py (default softmax)")
    parser.add_argument("--data", help="folder of files from frontier tasks export")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--steps", type=int, help="a training has so many, or as many as its minutes leave")
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
    if not a.time and not (a.data and a.out):
        parser.error("--data and --out are needed to train")
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    if a.time:
        lengths = [n for n, *_ in STAGES if n <= a.time]
        widths = [n if n < 512 else n + batches.ANSWER_ROOM for n in lengths]
        trainer = Trainer(a.size, a.attention, ["any"], widths, a.device, not a.eager, not a.no_graph)
        took, mean = measure(trainer, Schedule(lengths, a.tokens, MIX), lengths)
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

    samples = batches.Samples(a.data)
    schedule = Schedule(samples.rows, a.tokens, mix)
    widths = {n + room for n, *_ in STAGES for room in (0, batches.ANSWER_ROOM)}
    trainer = Trainer(a.size, a.attention, samples.tasks, widths, a.device, not a.eager, not a.no_graph)
    step, tokens, before, decay = 0, 0, 0.0, 1.0 if a.polish else DECAY
    cold = 0  # the step at which the optimisers began
    if a.polish:
        mini.load_checkpoint(trainer.net, a.polish, trainer.net.attention.begins_without)
        schedule.index = len(STAGES) - 1
    saved, short = a.out / "checkpoint.pt", a.out / "model" / "progress.json"
    state = None
    if saved.exists():
        state = torch.load(saved, map_location=a.device)
        with torch.no_grad():
            for t, value in zip(trainer.state(), state["tensors"], strict=True):
                t.copy_(value)
    elif short.exists():
        state = json.loads(short.read_text())
        mini.load_checkpoint(trainer.net, short.parent)
    if state:
        if state["attention"] != a.attention:
            raise SystemExit(f"{a.out}: its checkpoint is of --attention {state['attention']}")
        step, tokens, before = state["step"], state["tokens"], state["seconds"]
        (schedule.index, schedule.begun), schedule.mix = state["stage"], state["mix"]
        cold = 0 if saved.exists() else step
    loader = batches.Loader(samples, schedule.draw, a.seed + step)
    log = open(a.out / "log.jsonl", "a", buffering=1)
    versions = {"torch": torch.__version__, "python": platform.python_version(),
                "device": torch.cuda.get_device_name() if a.device.startswith("cuda") else "cpu"}
    log.write(json.dumps({"size": a.size, "attention": a.attention, "parameters": sum(p.numel() for p in trainer.net.parameters()), "seed": a.seed,
                          "minutes": a.minutes, "steps": a.steps, "rates": RATES[a.size], "polish": a.polish, "mix": mix,
                          "from_step": step, **versions}) + "\n")

    random = numpy.random.default_rng(a.seed + step)
    seconds, building, last_save = before, 0.0, before  # of training; of making graphs, which do not count
    planned, lately = a.steps, (before, step)  # steps; seconds and step a while ago
    start = time.time()

    def save():
        progress = {"attention": a.attention, "step": step, "tokens": tokens, "seconds": seconds,
                    "stage": (schedule.index, schedule.begun), "mix": schedule.mix}
        torch.save({"tensors": [t.detach() for t in trainer.state()], **progress}, saved.with_suffix(".tmp"))
        saved.with_suffix(".tmp").rename(saved)
        mini.save_checkpoint(trainer.net, a.out / "model")
        short.write_text(json.dumps(progress) + "\n")

    while True:
        seconds = before + time.time() - start - building
        share = step / planned if a.steps else seconds / (60 * a.minutes)
        mastered = step % 20 == 0 and schedule.stage()[1] == 1.0 and trainer.skill.item() > MASTERED
        if schedule.advance(share, mastered):
            trainer.skill.zero_()
        if share >= 1 or (a.stop and time.time() - start >= 60 * a.stop):
            break
        stage, warm = schedule.stage()
        if random.random() < warm:
            width = stage if warm == 1.0 else stage + batches.ANSWER_ROOM
            batch = batches.warm_up(width, schedule.rows(width), mini.VOCABULARY, len(samples.tasks), random, a.device)
        else:
            batch = loader.get()
        building += trainer.step(batch, min(1, (step - cold + 1) / 100) * min(1, (1 - share) / decay + 0.01))
        step += 1
        tokens += batch.ids.numel()

        if a.steps and step % 100 == 0:  # where others share the card: as many as the time leaves at the pace of the last ones
            pace, lately = 100 / max(seconds - lately[0], 1e-3), (seconds, step)
            if seconds > (1 - DECAY) * 60 * a.minutes:
                planned = min(a.steps, step + max(1, int(pace * (60 * a.minutes - seconds))))

        if step % 100 == 0:
            right, (answer, context) = trainer.tally.take(), trainer.loss.tolist()
            schedule.learn(right)
            log.write(json.dumps({
                "step": step, "seconds": round(seconds, 1), "building": round(building, 1), "tokens": tokens, "stage": stage, "planned": planned,
                "answer_loss": round(answer, 4), "context_loss": round(context, 4), "right": right,
                "mix": {t: round(w, 2) for t, w in schedule.mix.items()}}) + "\n")
            if seconds - last_save > 120:
                last_save = seconds
                save()
    save()
    log.write(json.dumps({"done": share >= 1, "step": step, "tokens": tokens, "seconds": round(seconds, 1)}) + "\n")


if __name__ == "__main__":
    main()
