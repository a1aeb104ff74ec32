"""How far the dense model in bf16 on a GPU is from itself in fp32 on a CPU: the KL below which a divergence on a GPU says nothing.

    python3 tests/peers/dtype_floor.py MODEL [TOKENS [DEVICE]]         (default 2048, cuda; needs build/tests/test_families, tools/ids, numpy)

The first tokens of the novel that ships are read by both; every fourth row's KL(fp32 || other) over the whole vocabulary, NLL of the
token that follows, and likeliest token are compared. Some GB of disk in the folder for temporary files."""
import os
import subprocess
import sys
import tempfile

import numpy as np

ROOT, EVERY = os.path.dirname(os.path.abspath(__file__)) + "/../..", 4


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max()
    return x - np.log(np.exp(x).sum())


def main():
    model, tokens, device = (sys.argv[1:] + ["2048", "cuda"][len(sys.argv) - 2:])[:3]
    n, text = int(tokens), open(ROOT + "/tasks/data/haystack.txt", "rb").read()[: 8 * int(tokens)].decode(errors="ignore").encode()
    given = b"%d\n%s" % (len(text), text)
    ids = np.array(subprocess.run([ROOT + "/build/tests/tools/ids", model], input=given, stdout=subprocess.PIPE, check=True).stdout.split(), np.int32)[:n]
    if len(ids) < n:
        sys.exit(f"the text has {len(ids)} tokens in {8 * n} bytes: ask for fewer")
    with tempfile.TemporaryDirectory() as folder:
        ids.tofile(folder + "/ids")
        rows = []
        for where in ("cpu", device):
            subprocess.run([ROOT + "/build/tests/test_families", "logits", model, folder + "/ids", folder + "/" + where, str(EVERY), where], check=True)
            rows.append(np.fromfile(folder + "/" + where, np.float32).reshape(-(-n // EVERY), -1))
            os.remove(folder + "/" + where)
    kl, nll, same = [], [], []
    for i, (a, b) in enumerate(zip(*rows)):
        p, q = log_softmax(a), log_softmax(b)
        kl.append((np.exp(p) * (p - q)).sum())
        same.append(p.argmax() == q.argmax())
        if i * EVERY + 1 < n:
            nll.append((-p[ids[i * EVERY + 1]], -q[ids[i * EVERY + 1]]))
    kl, nll = np.array(kl), np.array(nll)
    print(f"{model}, {n} tokens, {len(kl)} rows, cpu (fp32) and {device}: KL mean {kl.mean():.2e}, median {np.median(kl):.2e}, 95 % {np.quantile(kl, .95):.2e}, "
          f"most {kl.max():.2e}; likeliest tokens equal {np.mean(same):.4f}; NLL {nll[:, 0].mean():.5f} and {nll[:, 1].mean():.5f}")


main()
