"""What the recipe of frontier-mini promises of its trainings, on a processor: numbers that are finite, rows that are not learned from twice.

    python tests/peers/recipe.py [build] [WORD ...]      TRITON_INTERPRET=1: of the kernels too; with a build, samples of `frontier tasks export`

entmax   1.5-entmax of logits up to 1e12, rows of 1 to 4096, drawn, all alike or with a sorted tail: weights and gradients beside sorting in
         double (Peters et al. 2019, algorithm 2); asentmax in a tiny model at rates so high that its logits pass 1e7
chosen   (TRITON_INTERPRET=1) what a kind's layer gives by the kernels of chosen_attention.py, its own loss and all gradients are what they are by masks
masks    no kind gives a mask to cuDNN's kernels
begin    a training by softmax ends behind its warm-up, without data; window begins behind it with those weights, nsa goes through its stages
         itself; what is no such training is refused
finite   a gradient that is not finite ends a training, which names step and tensor and leaves the checkpoint before it
rows     a training that lacks rows is refused; without --steps it ends when they are spent, and goes on with more, each row once; parts that come
         later are read in the same order; what make_data.py makes is all different
heart    rows learned from eighty times are known by heart
"""
import contextlib
import functools
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HERE / "models/frontier-mini/recipe"))
import batches  # noqa: E402
import chosen_attention  # noqa: E402
import entmax_attention  # noqa: E402
import heart  # noqa: E402
import kinds  # noqa: E402
import make_data  # noqa: E402
import model as mini  # noqa: E402
import train  # noqa: E402

mini.SIZES["tiny"] = dict(hidden=64, heads=1, kv_heads=1, layers=2, mlp=64)
train.RATES["tiny"] = (0.02, 3e-3)


def by_sorting(logits):
    """1.5-entmax of rows [.., n] in double, and y = sqrt(p)."""
    z = logits.double() / 2
    z = z - z.amax(-1, keepdim=True)
    s, n = z.sort(-1, descending=True).values, torch.arange(1, z.shape[-1] + 1)
    mean, square = s.cumsum(-1) / n, (s * s).cumsum(-1) / n
    tau = mean - ((1 - n * (square - mean * mean)) / n).clamp(min=0).sqrt()
    support = (tau <= s).sum(-1, keepdim=True)
    y = (z - tau.gather(-1, support - 1)).clamp(min=0)
    return y * y, y


def entmax(_):
    worst = 0.0
    for n in (1, 2, 64, 4096):
        for power in range(-2, 13):
            torch.manual_seed(n + power)
            drawn, same = torch.randn(6, n), torch.ones(6, n) + torch.arange(6)[:, None] / 7
            for logits in (drawn * 10.0 ** power, same * 10.0 ** power, same * 10.0 ** power - torch.arange(n)):
                g, leaf = torch.randn(6, n), logits.clone().requires_grad_()
                found = entmax_attention.Rows.apply(leaf)
                back, = torch.autograd.grad(found, leaf, g)
                p, y = by_sorting(logits)
                wanted = y * (g - (y * g).sum(-1, keepdim=True) / y.sum(-1, keepdim=True))
                off = max((found - p).abs().max().item(), (back - wanted).abs().max().item())
                worst = max(worst, off if off == off else float("inf"))
    print(f"entmax: weights and gradients at most {worst:.1e} from sorting in double")
    assert worst < 2e-5
    if entmax_attention.triton and os.environ.get("TRITON_INTERPRET") == "1":
        for power in (0, 4, 7, 8, 12):
            torch.manual_seed(power)
            q, k = (F.normalize(torch.randn(1, heads, 70, 64), dim=-1) for heads in (2, 1))
            given = [t.requires_grad_() for t in (q * 16 * 10.0 ** power, k, torch.ones(1, 1, 70, 64))]
            out = entmax_attention.Kernels.apply(*given)
            found = [out, *torch.autograd.grad(out, given, torch.randn(out.shape))]
            assert all(t.isfinite().all() for t in found) and (out - 1).abs().max() < 1e-4, power
        print("entmax: the kernels' rows sum to 1 and their gradients are finite up to logits of 2e12")
    mini.SIZES["tiny"]["layers"], train.RATES["tiny"] = 1, (0.5, 0.3)
    torch.manual_seed(1)
    random, most = np.random.default_rng(1), [0.0]
    trainer = train.Trainer("tiny", "asentmax", ["copy"], [32], "cpu", False)
    plain = entmax_attention.plain

    def watched(q, k, v):
        most[0] = max(most[0], (q.detach() @ k.detach().transpose(2, 3)).abs().max().item() / 8)
        return plain(q, k, v)

    entmax_attention.plain = watched
    for step in range(150):
        trainer.step(batches.warm_up(32, 16, batches.FIRST_WORD + 1024, 0, random, "cpu"), min(1, (step + 1) / 20), step + 1)
    entmax_attention.plain, mini.SIZES["tiny"]["layers"], train.RATES["tiny"] = plain, 2, (0.02, 3e-3)
    print(f"asentmax: 150 steps, logits up to {most[0]:.1e}; not finite: {trainer.ill()}")
    assert most[0] > 1e7 and trainer.ill() is None and all(t.isfinite().all() for t in trainer.state())


def chosen(_):
    if not chosen_attention.triton or os.environ.get("TRITON_INTERPRET") != "1":
        print("chosen: not without TRITON_INTERPRET=1")
        return
    shape, tokens, runs = dict(hidden=64, heads=4, kv_heads=2, layers=2, mlp=64), 200, chosen_attention.runs
    small = [("window", "WINDOW", 48), ("moba", "K", 2), ("dms", "WINDOW", 24), ("dms", "OFFSET", 0.0), ("sparsek", "K", 12), ("sparsek", "WINDOW", 16),
             ("nsa", "BLOCKS", 4), ("nsa", "WINDOW", 24), ("dsa", "K", 24), ("dsa", "EVERY", 1), ("spattention", "LENGTH", 150)]
    small = [(sys.modules[kinds.kind(kind).__module__], name, value) for kind, name, value in small]
    moba = small[1][0]
    small.append((moba, "chosen", functools.partial(moba.chosen, count=2)))
    kept = [(module, name, getattr(module, name)) for module, name, _ in small]
    for one in small:
        setattr(*one)
    angle = torch.outer(torch.arange(tokens).float(), 1e5 ** (-torch.arange(0, 64, 2).float() / 64))
    for kind in ("window", "moba", "dms", "sparsek", "spattention", "nsa", "dsa_warm", "dsa"):
        torch.manual_seed(3)
        layer, x, g = kinds.kind(kind)(shape, 0), torch.randn(2, tokens, 64), torch.randn(2, tokens, 64)
        x.requires_grad_()
        with torch.no_grad():
            for p in layer.parameters():
                if p.dim() == 2:
                    p.normal_(0, 0.15)
        leaves, found = [x, *layer.parameters()], []
        try:
            for by_kernels in (False, True):
                chosen_attention.runs = lambda t: by_kernels
                torch.manual_seed(4)
                layer.loss = None
                out = layer(x, angle.cos(), angle.sin())
                loss = torch.zeros(()) if layer.loss is None else layer.loss
                found.append([out, loss, *torch.autograd.grad((out * g).sum() + 100 * loss, leaves, allow_unused=True)])
                if kind in ("dms", "sparsek", "spattention"):
                    layer.eval()
                    found[-1].append(layer(x, angle.cos(), angle.sin()))
                    layer.train()
        finally:
            chosen_attention.runs = runs
        apart = [((a - b).norm() / b.norm().clamp(min=1e-6)).item() for b, a in zip(*found) if b is not None]
        print(f"chosen: {kind}: by kernels and by masks {len(apart)} tensors differ by at most {max(apart):.1e} of their norm", flush=True)
        assert max(apart) < 2e-5 and all((a is None) == (b is None) for a, b in zip(*found)), (kind, apart)
    for one in kept:
        setattr(*one)


def masks(_):
    call, seen = F.scaled_dot_product_attention, []

    def watched(*tensors, attn_mask=None, **options):
        if attn_mask is not None:
            seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return call(*tensors, attn_mask=attn_mask, **options)

    F.scaled_dot_product_attention = watched
    try:
        for kind in kinds.KINDS:
            seen.clear()
            trainer = train.Trainer("tiny", kind, ["copy"], [320], "cpu", False)
            trainer.step(batches.warm_up(320, 1, mini.VOCABULARY, 0, np.random.default_rng(1), "cpu"), 0.1)
            assert not any(seen), f"{kind} gives {sum(seen)} of {len(seen)} masks to cuDNN's kernels"
            assert seen or kind in ("softmax", "entmax15", "asentmax"), kind
    finally:
        F.scaled_dot_product_attention = call
    assert torch.backends.cuda.cudnn_sdp_enabled()
    print(f"masks: none of {len(kinds.KINDS)} kinds gives one to cuDNN's kernels")


def part(folder, name, rows, seed):
    """A part of two tasks in rows of 512, as make_data.py writes it: an answer repeats the words after the prompt's first."""
    random = np.random.default_rng(seed)
    tokens = random.integers(batches.FIRST_WORD, mini.VOCABULARY, (2 * rows, 124)).astype(np.uint16)
    tokens[:, 120:] = tokens[:, 1:5]
    raw = io.BytesIO()
    np.savez(raw, tokens=tokens.flatten(), tokens_of=np.full(2 * rows, 124, np.uint16), tasks=np.array(["niah", "vt"]), length=np.full(2 * rows, 512),
             task=np.arange(2 * rows, dtype=np.uint8) % 2, prompt_tokens=np.full(2 * rows, 120, np.uint16))
    (pathlib.Path(folder) / name).write_bytes(make_data.lzma.compress(raw.getvalue()))


def trained(folder, *options):
    """Status and output of train.py in this process, on FOLDER/data into FOLDER/out. Its warm-up is over as soon as it is looked at."""
    said, argv = io.StringIO(), sys.argv
    sys.argv = ["train.py", "tiny", "--device", "cpu", "--eager", "--tokens", "2560", "--mastered", "-1", "--save", "0", "--data", f"{folder}/data",
                "--out", f"{folder}/out", *options]
    try:
        with contextlib.redirect_stdout(said):
            train.main()
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            said.write(code)
            code = 1
        return code, said.getvalue()
    finally:
        sys.argv = argv


def begin(_):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/data")
        part(f"{folder}/data", batches.part_name(0), 150, 1)
        warm = ["--out", f"{folder}/warm", "--data="]
        code, said = trained(folder, *warm)
        assert code == 2, said  # data is needed, but for the warm-up
        code, said = trained(folder, *warm, "--until-mastered")
        assert code == 0 and "rows of 256 mastered" in said, said
        state = torch.load(f"{folder}/warm/checkpoint.pt")
        for kind, stages in (("window", 0), ("nsa", 3)):
            given, first = dict(zip(state["names"], state["tensors"][0])), []
            learn = train.Trainer.learn

            def watched(self, batch):
                if not first:
                    own = dict(self.net.named_parameters())
                    first.append(all(torch.equal(own[n], t) for n, t in given.items()))
                    assert sorted(set(own) - set(given)) == ([f"layers.{i}.self_attn.g_proj.weight" for i in range(2)] if kind == "nsa" else [])
                learn(self, batch)

            train.Trainer.learn = watched
            try:
                code, said = trained(folder, "--out", f"{folder}/{kind}", "--attention", kind, "--begin", f"{folder}/warm", "--minutes", "5", "--steps", "40", "--epochs", "9")
            finally:
                train.Trainer.learn = learn
            log = [json.loads(line) for line in open(f"{folder}/{kind}/log.jsonl")]
            assert code == 0 and first == [True], (said, first)
            assert [n for n, *_ in log[0]["begun"]] == ["64 by softmax", "128 by softmax", "256 by softmax"], log[0]
            assert len(log[-1]["warm_up"]) == stages and log[-1]["step"] == 40 + sum(n for _, n, _ in log[-1]["warm_up"]), log[-1]
            print(f"begin: {kind}: its own warm-up {log[-1]['warm_up']}, {log[-1]['step']} steps in all")
        for kind in ("moba", "nsa"):  # from a model's folder, into the stages behind the warm-up
            code, said = trained(folder, "--out", f"{folder}/{kind}-of-model", "--attention", kind, "--begin", f"{folder}/warm/model", "--minutes", "5", "--stop", "0.001", "--seed", "7")
            progress = json.loads((pathlib.Path(folder) / f"{kind}-of-model/model/progress.json").read_text())
            assert code == 0 and progress["begun"] == f"{folder}/warm/model" and progress["base"] == [0, 0.0], (said, progress)
            net, first = mini.Decoder("tiny", kind), mini.Decoder("tiny")
            mini.load_checkpoint(net, f"{folder}/{kind}-of-model/model")
            mini.load_checkpoint(first, f"{folder}/warm/model")
            assert all(torch.equal(dict(net.named_parameters())[name], p) for name, p in first.named_parameters())  # of a seed that would begin otherwise
        factors, step, warm_up = [], train.Trainer.step, batches.warm_up
        train.Trainer.step, batches.warm_up = lambda self, batch, factor, n: factors.append(factor) or step(self, batch, factor, n), None  # which may not be called
        try:
            code, said = trained(folder, "--out", f"{folder}/on", "--attention", "moba", "--begin", f"{folder}/warm/model", "--minutes", "5", "--steps", "60")
        finally:
            train.Trainer.step, batches.warm_up = step, warm_up
        assert code == 0 and len(factors) == 60 and abs(factors[30] - 0.31 * 0.51) < 1e-6, (said, factors)  # half of the way, of a hundred steps' rise
        code, said = trained(folder, "--out", f"{folder}/no", "--attention", "moba", "--begin", f"{folder}/nowhere", "--minutes", "5")
        assert code == 1 and "neither checkpoint.pt" in said, said
        code, said = trained(folder, "--out", f"{folder}/no", "--attention", "moba", "--begin", f"{folder}/window", "--minutes", "5")
        assert code == 1 and "found window" in said, said


def finite(_):
    learn = train.Trainer.learn

    def poisoned(self, batch):
        p = self.net.layers[1].self_attn.k_proj.weight
        hook = p.register_hook(lambda g: g * float("nan")) if self.number == 147 else None
        learn(self, batch)
        if hook:
            hook.remove()

    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/data")
        part(f"{folder}/data", batches.part_name(0), 400, 1)
        train.Trainer.learn = poisoned
        try:
            code, said = trained(folder, "--minutes", "5")
        finally:
            train.Trainer.learn = learn
        print(said.splitlines()[-1])
        assert code == 5 and "the gradient of layers.1.self_attn.k_proj.weight is not finite since step 147" in said and "is of step 100" in said
        state = torch.load(f"{folder}/out/checkpoint.pt")
        assert state["step"] == 100 and all(t.isfinite().all() for t in state["tensors"][0])
        net = mini.Decoder("tiny")
        mini.load_checkpoint(net, f"{folder}/out/model")
        kept = (pathlib.Path(folder) / "out/model/model.safetensors").read_bytes()
        with torch.no_grad():
            net.norm.weight[3] = 3.4e38  # finite, but not in bf16
        try:
            mini.save_checkpoint(net, f"{folder}/out/model")
            raise AssertionError("weights that are not finite were saved")
        except SystemExit as end:
            assert "norm.weight has 1 of 64" in str(end)
        assert (pathlib.Path(folder) / "out/model/model.safetensors").read_bytes() == kept


def rows(build):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/data")
        part(f"{folder}/data", batches.part_name(0), 150, 1)
        code, said = trained(folder, "--minutes", "5", "--steps", "2000")
        assert code == 1 and "300 are there" in said, said
        learned, made = [], batches.Samples.made

        def watched(self, length, rows, random):
            learned.extend(row.tobytes() for _, row, _ in rows)
            return made(self, length, rows, random)

        batches.Samples.made = watched
        try:
            code, said = trained(folder, "--minutes", "5")
            print(said.splitlines()[-2])
            assert code == 4 and "were learned from 1 time" in said, said
            assert "left out there from here on" in said and len(learned) > 296, (said, len(learned))  # the other task went on
            part(f"{folder}/data", batches.part_name(1), 30, 2)
            code, said = trained(folder, "--minutes", "5")
            assert code == 4, said
        finally:
            batches.Samples.made = made
        assert len(learned) > 300 and len(set(learned)) == len(learned), f"{len(learned) - len(set(learned))} of {len(learned)} rows come twice"
        print(f"rows: {len(learned)} were learned from in two calls, each once")
        data = pathlib.Path(folder) / "data"
        waiting = batches.Samples(data, wait=60)
        (data / batches.DONE).touch()  # of which no more will come
        begun = time.time()
        try:
            for _ in range(9):
                waiting.batch(512, 60, {"niah": 1, "vt": 1}, np.random.default_rng(0))
            raise AssertionError("there were more rows than were made")
        except batches.Spent:
            assert sum(waiting.drawn.values()) == 360 and time.time() - begun < 60, waiting.drawn
        whole = batches.Samples(data)
        hidden = (data / batches.part_name(1)).rename(data / "later")
        late = batches.Samples(data)
        hidden.rename(data / batches.part_name(2))
        late.look()
        assert late.parts == 1  # not beyond a gap
        (data / batches.part_name(2)).rename(data / batches.part_name(1))
        late.look()
        assert all((a == b).all() for a, b in zip([r for r, _ in whole.rows[512]["vt"]], [r for r, _ in late.rows[512]["vt"]], strict=True))
        if build:
            subprocess.run([sys.executable, make_data.__file__, f"{folder}/made", "--parts", "2", "--scale", "200", "--jobs", "2", "--frontier",
                            f"{build}/frontier"], check=True, cwd=HERE, stdout=subprocess.DEVNULL)
            pools = batches.read(sorted(pathlib.Path(f"{folder}/made").glob("*.npz.xz")))
            prompts = [tokens[:n].tobytes() for pool in pools.values() for tokens, n in pool]
            counts = [2 * max(1, n // 200) + make_data.UNSEEN for *_, n in make_data.FILES]
            assert len(prompts) == 6 * sum(counts) and len(set(prompts)) == len(prompts), (len(prompts), len(set(prompts)))
            print(f"rows: {len(prompts)} samples of two parts and the unseen ones, all different")


def by_heart(_):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/data")
        part(f"{folder}/data", batches.part_name(0), 5, 1)
        part(f"{folder}/data", "unseen.npz.xz", 16, 3)
        code, said = trained(folder, "--minutes", "5", "--epochs", "80")
        line = [text for text in said.splitlines() if "unseen" in text][-1]
        print(line)
        assert code == 4 and line.endswith("known by heart"), said
        told = subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); import model, heart\n"
                               f"model.SIZES = {{'tiny': {mini.SIZES['tiny']}}}; heart.main()", heart.__file__.rsplit("/", 1)[0],
                               f"{folder}/out/model", "--data", f"{folder}/data", "--device", "cpu"], capture_output=True, text=True)
        assert told.returncode == 1 and "known by heart" in told.stdout, told


CHECKS = {"entmax": entmax, "chosen": chosen, "masks": masks, "begin": begin, "finite": finite, "rows": rows, "heart": by_heart}


def main():
    asked = sys.argv[1:]
    build = pathlib.Path(asked.pop(0)).resolve() if asked and pathlib.Path(asked[0]).is_dir() else None
    for name in asked or CHECKS:
        CHECKS[name](build)
    print("ok")


if __name__ == "__main__":
    torch.set_num_threads(1)
    batches.CONTEXT_SAMPLE = 64
    main()
