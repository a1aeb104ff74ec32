"""Training batches: exported task samples of one length, and warm-up rows with dense targets.

Which tokens are to be predicted is worked out where the batch is made, never from its contents on the GPU, so that the
training step need not wait for the device.
"""
import collections
import dataclasses
import io
import lzma
import pathlib
import queue
import threading
import time

import h5py
import numpy as np
import torch
import torch.nn.functional as F

ANSWER_ROOM = 128       # tokens that a row is wider than its length
ANSWER_PLACES = 64      # answer tokens of a row, on average over a batch, that there is room for
CONTEXT_SAMPLE = 4096   # tokens of the context that are predicted too, a batch
SEPARATOR = 1           # <|im_start|>, between the parts of a warm-up row
MARK = 0                # <|endoftext|>, between keys and values that are asked by value
FIRST_WORD = 259        # ids below are special tokens and single bytes


@dataclasses.dataclass
class Batch:
    ids: torch.Tensor        # int32 [rows, width]
    answer: torch.Tensor     # int64 [places] in ids.flatten() before which an answer token stands
    weight: torch.Tensor     # float32 [places] of that token in the loss; 0: the place is not used
    cell: torch.Tensor       # int64 [places] row of that token
    context: torch.Tensor    # int64 [CONTEXT_SAMPLE] places before ordinary tokens
    task: torch.Tensor       # int64 [rows]

    def tensors(self):
        return [getattr(self, f.name) for f in dataclasses.fields(self)]

    def shape(self):
        """What a step made for one batch needs of another."""
        return tuple(tuple(t.shape) for t in self.tensors())

    def to(self, device):
        return Batch(*(t.to(device, copy=True) for t in self.tensors()))

    def fill(self, other):
        for mine, theirs in zip(self.tensors(), other.tensors()):
            mine.copy_(theirs, non_blocking=True)


def read(paths):
    """Rows of files by (length, task), each pool shuffled, or the last steps would see one of a length's files alone."""
    new = collections.defaultdict(list)
    for path in paths:
        if path.suffix == ".h5":
            with h5py.File(path) as f:
                names = [name.split("(")[0] for name in f.attrs["tasks"]]
                tokens, offset = f["tokens"][:], f["offset"][:]
                lengths, tasks, prompts = f["length"][:], f["task"][:], f["prompt_tokens"][:]
        else:
            with np.load(io.BytesIO(lzma.open(path).read())) as f:
                names, tokens, offset = f["tasks"].tolist(), f["tokens"], np.concatenate([[0], np.cumsum(f["tokens_of"], dtype=np.int64)])
                lengths, tasks, prompts = f["length"], f["task"], f["prompt_tokens"]
        for i in range(len(lengths)):
            new[int(lengths[i]), names[tasks[i]]].append((tokens[offset[i]:offset[i + 1]], int(prompts[i])))
    shuffle = np.random.default_rng(0).shuffle
    for pool in new.values():
        shuffle(pool)
    return new


DONE = "SHA256SUMS"  # what make_data.py writes last


class Spent(Exception):
    """All rows of a length, or of one task of it, were learned from."""


class Samples:
    """Samples of a folder, by length and task: what make_data.py wrote, part after part as they come, or all files of `frontier tasks
    export`. Rows of a task are drawn in turn, `epochs` times at most; where there are no more, or none yet, parts that came since are read, which is
    waited for for `wait` minutes, or until make_data.py is done. A task without more rows of a length is left out there; Spent: all are."""

    def __init__(self, folder, epochs=1, wait=0.0):
        self.folder, self.epochs, self.wait, self.parts = pathlib.Path(folder), epochs, wait, 0
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))  # length -> task -> rows
        self.add(*sorted(self.folder.glob("*.h5")))
        self.look(1 if wait else None)
        until = time.time() + 60 * wait
        while not self.rows and time.time() < until:
            time.sleep(1)
            self.look(1)
        if not self.rows:
            raise SystemExit(f"{folder}: no exported samples (*.h5, part-*.npz.xz); see train.py")
        self.tasks = sorted({t for by_task in self.rows.values() for t in by_task})
        self.drawn = collections.Counter()  # "LENGTH/TASK" -> rows
        self.spent = set()                  # of those
        if wait:  # the others while the first is learned from
            threading.Thread(target=self.look_ahead, daemon=True).start()

    def add(self, *paths):
        """Puts rows behind those that are there: what was drawn keeps its place."""
        for (length, task), pool in read(paths).items():
            self.rows[length][task] += pool

    def look(self, most=None):
        """Reads the parts that came since, at most so many, in their order and none beyond a gap, so that rows have the same places whenever one
        looks."""
        while most != 0 and (path := self.folder / part_name(self.parts)).exists():
            self.add(path)
            self.parts += 1
            most = most and most - 1

    def look_ahead(self):
        while True:
            self.look()
            time.sleep(1)

    def take(self, length, task):
        """The next row of a task."""
        pool, key = self.rows[length][task], f"{length}/{task}"
        until = time.time() + 60 * self.wait
        while self.drawn[key] >= len(pool):
            if not self.wait:
                self.look()
            if self.drawn[key] < len(pool) * self.epochs:
                break
            if time.time() > until or (self.folder / DONE).exists() and not (self.folder / part_name(self.parts)).exists():
                raise Spent(f"all {len(pool)} rows of {task} of length {length} in {self.folder} were learned from {self.epochs} time{'s' * (self.epochs > 1)}")
            time.sleep(1)
        row = pool[self.drawn[key] % len(pool)]
        self.drawn[key] += 1
        return row

    def batch(self, length, count, mix, random):
        """`count` rows of one length; tasks drawn by `mix` (task -> weight), each task's rows in turn."""
        rows = []
        while len(rows) < count:
            names = [t for t in self.tasks if t in self.rows[length] and mix.get(t, 0) > 0 and f"{length}/{t}" not in self.spent]
            if not names:
                raise Spent(f"all rows of length {length} in {self.folder} were learned from {self.epochs} time{'s' * (self.epochs > 1)}")
            share = np.array([mix[t] for t in names])
            for pick in random.choice(len(names), count - len(rows), p=share / share.sum()):
                try:
                    rows.append((names[pick], *self.take(length, names[pick])))
                except Spent as spent:
                    self.spent.add(f"{length}/{names[pick]}")
                    print(f"{spent}: left out there from here on", flush=True)
                    break
        return self.made(length, rows, random)

    def made(self, length, rows, random):
        """The batch of rows (task, tokens, prompt's tokens)."""
        count, width = len(rows), length + ANSWER_ROOM
        ids = np.zeros((count, width), np.int32)
        task = np.zeros(count, np.int64)
        answer, weight, cell, context = [], [], [], []
        for r, (name, row, prompt) in enumerate(rows):
            n = min(len(row), width)
            ids[r, :n] = row[:n]
            answer.append(np.arange(r * width + prompt - 1, r * width + n - 1))
            weight.append(np.full(n - prompt, (n - prompt) ** -0.5, np.float32))  # short answers count nearly as long ones
            cell.append(np.full(n - prompt, r))
            context.append(r * width + random.integers(0, prompt - 1, CONTEXT_SAMPLE // count + 1))
            task[r] = self.tasks.index(name)
        places = count * ANSWER_PLACES
        tensors = [ids, padded(answer, places), padded(weight, places), padded(cell, places),
                   np.concatenate(context)[:CONTEXT_SAMPLE], task]
        tensors = [torch.from_numpy(a) for a in tensors]
        return Batch(*(t.pin_memory() if torch.cuda.is_available() else t for t in tensors))


def part_name(number):
    return f"part-{number:04}.npz.xz"


def padded(parts, places):
    """The parts in a row of `places`: zeros behind them; what is too much falls off."""
    row = np.concatenate(parts)[:places]
    return np.pad(row, (0, places - len(row)))


class Loader:
    """Makes batches ahead in a thread. `plan(random)` gives (length, rows, mix) of the next one, when it is made."""

    def __init__(self, samples, plan, seed):
        self.queue = queue.Queue(8)
        self.samples, self.plan = samples, plan
        self.random = np.random.default_rng(seed)
        self.given = dict(samples.drawn)  # as Samples.drawn, without what is only ahead
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        try:
            while True:
                batch = self.samples.batch(*self.plan(self.random), self.random)
                self.queue.put((batch, dict(self.samples.drawn)))
        except Exception as error:
            self.queue.put(error)

    def get(self):
        made = self.queue.get()
        if isinstance(made, Exception):
            raise made
        batch, self.given = made
        return batch


def warm_up(width, rows, vocabulary, task, random, device):
    """Rows that teach to look things up: copy a segment; answer keys by value and values by key, for many pairs.

    Up to width 128 keys and values are single tokens; beyond, strings of one to three. The tokens of a batch come from
    an alphabet drawn anew, often a small one. `task`: the number under which the rows are counted."""
    size = int(random.choice([256, 1024, vocabulary - FIRST_WORD]))
    alphabet = torch.randperm(vocabulary - FIRST_WORD, device=device)[:size] + FIRST_WORD
    bar = torch.full((rows, 1), SEPARATOR, device=device)
    if random.random() < 0.3:
        n = int(random.integers(width // 4, (width - 1) // 2 + 1))
        segment = alphabet[torch.randint(0, size, (rows, n), device=device)]
        parts, wanted = [segment, bar, segment], [0] * (n + 1) + [1] * n
    else:
        a, b = (1, 1) if width <= 128 else (int(random.integers(1, 4)) for _ in range(2))
        backward = random.random() < 0.5  # asked by value: the answer stands before what was asked
        n = min((width - 1) // (2 * (a + b) + backward), size)
        key, value = (distinct(rows, n, k, alphabet) for k in (a, b))
        between = torch.full((rows, n, int(backward)), MARK, device=device)
        listed = torch.cat([key, between, value], 2).flatten(1)
        if backward:
            key, value = value, key
        order = torch.rand(rows, n, device=device).argsort(1)[..., None]
        told = torch.cat([key, value], 2).gather(1, order.expand(-1, -1, a + b)).flatten(1)
        parts = [listed, bar, told]
        wanted = [0] * (listed.shape[1] + 1) + ([0] * key.shape[2] + [1] * value.shape[2]) * n
    ids = F.pad(torch.cat(parts, 1), (0, width - len(wanted))).int()
    at = torch.tensor([i for i, w in enumerate(wanted) if w], device=device)
    first = torch.arange(rows, device=device)[:, None]
    answer = (first * width + at - 1).flatten()
    spare = (0, rows * (width // 2) - len(answer))
    return Batch(ids, F.pad(answer, spare), F.pad(torch.ones(len(answer), device=device), spare),
                 F.pad(first.expand(-1, len(at)).flatten(), spare),
                 torch.randint(0, ids.numel() - 1, (CONTEXT_SAMPLE,), device=device),
                 torch.full((rows,), task, device=device))


def distinct(rows, n, size, alphabet):
    """[rows, n, size] tokens: single tokens all different, longer strings over few tokens (so that one alone does not
    tell them apart)."""
    if size == 1:
        return alphabet[torch.rand(rows, len(alphabet), device=alphabet.device).topk(n, 1).indices][..., None]
    alphabet = alphabet[:max(64, n)]
    return alphabet[torch.randint(0, len(alphabet), (rows, n, size), device=alphabet.device)]
