"""Training batches: exported task samples of one length, and warm-up rows with dense targets.

A batch is (ids, weight): ids int64 [rows, width], weight float32 [rows, width], where weight[r, t] > 0 says that token t
of row r is to be predicted, CONTEXT that it is an ordinary token of the input, 0 that it is padding.
"""
import collections
import pathlib
import queue
import threading

import h5py
import numpy as np
import torch

ANSWER_ROOM = 128       # tokens that a row is wider than its length
CONTEXT = -1.0
SEPARATOR = 1           # <|im_start|>, between the parts of a warm-up row
FIRST_WORD = 259        # ids below are special tokens and single bytes


class Samples:
    """All samples of a folder of files that `frontier tasks export` wrote, by length and task."""

    def __init__(self, folder):
        self.rows = collections.defaultdict(lambda: collections.defaultdict(list))  # length -> task -> rows
        for path in sorted(pathlib.Path(folder).glob("*.h5")):
            with h5py.File(path) as f:
                names = [n.decode() if isinstance(n, bytes) else n for n in f.attrs["tasks"]]
                tokens, offset = f["tokens"][:], f["offset"][:]
                lengths, tasks, prompts = f["length"][:], f["task"][:], f["prompt_tokens"][:]
            for i in range(len(lengths)):
                row = (tokens[offset[i]:offset[i + 1]], int(prompts[i]))
                self.rows[int(lengths[i])][names[tasks[i]]].append(row)
        if not self.rows:
            raise SystemExit(f"{folder}: no exported samples (*.h5); see train.py")
        self.tasks = sorted({t for by_task in self.rows.values() for t in by_task})
        self.next = collections.Counter()

    def batch(self, length, count, mix, random):
        """`count` rows of one length; tasks drawn by `mix` (task -> weight), each task's rows in turn."""
        width = length + ANSWER_ROOM
        ids = np.zeros((count, width), np.int64)
        weight = np.zeros((count, width), np.float32)
        task = np.zeros(count, np.int64)
        pools = self.rows[length]
        names = [t for t in self.tasks if t in pools and mix.get(t, 0) > 0]
        share = np.array([mix[t] for t in names])
        for r, pick in enumerate(random.choice(len(names), count, p=share / share.sum())):
            pool = pools[names[pick]]
            at = self.next[length, pick]
            self.next[length, pick] = (at + 1) % len(pool)
            row, prompt = pool[at]
            n = min(len(row), width)
            ids[r, :n] = row[:n]
            weight[r, :prompt] = CONTEXT
            weight[r, prompt:n] = (n - prompt) ** -0.5  # short answers count nearly as much as long ones
            task[r] = self.tasks.index(names[pick])
        return ids, weight, task


class Loader:
    """Makes batches ahead in a thread. `plan()` gives (length, rows) of the next batch, at the time it is made."""

    def __init__(self, samples, plan, mix, seed):
        self.queue = queue.Queue(8)
        self.samples, self.plan, self.mix = samples, plan, mix
        self.random = np.random.default_rng(seed)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        try:
            while True:
                length, rows = self.plan(self.random)
                batch = [torch.from_numpy(a) for a in self.samples.batch(length, rows, self.mix, self.random)]
                if torch.cuda.is_available():
                    batch = [t.pin_memory() for t in batch]
                self.queue.put((length, *batch))
        except Exception as error:
            self.queue.put(error)

    def get(self):
        batch = self.queue.get()
        if isinstance(batch, Exception):
            raise batch
        return batch


def warm_up(rows, width, vocabulary, device):
    """Rows that teach to look things up: copy a segment; answer keys by value and values by key, for many pairs."""
    if torch.rand(()) < 0.3:
        return copying(rows, width, vocabulary, device)
    return pairs(rows, width, vocabulary, device)


def filled(parts, targets, width):
    ids, wanted = torch.cat(parts, 1), torch.cat(targets, 1).float()
    weight = torch.where(wanted > 0, wanted.sum(1, keepdim=True).clamp(min=1) ** -0.5, torch.full_like(wanted, CONTEXT))
    pad = (0, width - ids.shape[1])
    return torch.nn.functional.pad(ids, pad), torch.nn.functional.pad(weight, pad)


def copying(rows, width, vocabulary, device):
    n = int(torch.randint(width // 4, (width - 1) // 2 + 1, ()))
    segment = torch.randint(FIRST_WORD, vocabulary, (rows, n), device=device)
    bar = torch.full((rows, 1), SEPARATOR, device=device)
    no, yes = torch.zeros_like(segment), torch.ones_like(segment)
    return filled([segment, bar, segment], [no, torch.zeros_like(bar), yes], width)


def distinct(rows, n, size, vocabulary, device):
    """[rows, n, size] tokens: single tokens all different, longer strings over a small alphabet (so that one token alone
    does not tell them apart)."""
    if size == 1:
        return (torch.rand(rows, vocabulary - FIRST_WORD, device=device).topk(n, 1).indices + FIRST_WORD)[..., None]
    alphabet = torch.randint(FIRST_WORD, vocabulary, (max(64, n),), device=device)
    return alphabet[torch.randint(0, len(alphabet), (rows, n, size), device=device)]


def pairs(rows, width, vocabulary, device):
    a, b = (int(torch.randint(1, 4, ())) for _ in range(2))
    n = (width - 1) // (2 * (a + b))
    key, value = distinct(rows, n, a, vocabulary, device), distinct(rows, n, b, vocabulary, device)
    listed = torch.cat([key, value], 2)
    backward = torch.rand(()) < 0.5
    asked, told = (value, key) if backward else (key, value)
    order = torch.rand(rows, n, device=device).argsort(1)[..., None]
    asked = asked.gather(1, order.expand(-1, -1, asked.shape[2]))
    told = told.gather(1, order.expand(-1, -1, told.shape[2]))
    answers = torch.cat([asked, told], 2)
    wanted = torch.cat([torch.zeros_like(asked), torch.ones_like(told)], 2)
    bar = torch.full((rows, 1), SEPARATOR, device=device)
    return filled([listed.flatten(1), bar, answers.flatten(1)],
                  [torch.zeros_like(listed).flatten(1), torch.zeros_like(bar), wanted.flatten(1)], width)
