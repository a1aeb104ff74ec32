"""fuzz_results.py FOLDER: the file that fuzz_results edits, beside the folder, made by the program that is built here; and a few
edits as seeds."""
import os
import random
import subprocess
import sys

CONFIG = """name: seed
models: [tests/golden/model/qwen2]
tasks: [vt: {chains: 1, hops: 1}]
lengths: [1000]
sparsity: [0.5]
methods: {prefill: [vertical_slash], decode: [quest]}
samples: 3
output: 2
answer: direct
measures: [score, divergence]
"""
folder = sys.argv[1]
file = os.path.join(folder, "..", "fuzz_results.h5")
if not os.path.exists(file):
    config = os.path.join(folder, "..", "fuzz_results.yaml")
    with open(config, "w") as f:
        f.write(CONFIG)
    subprocess.run([os.environ.get("FRONTIER", "build/frontier"), "run", config, "-o", file], stdout=subprocess.DEVNULL, check=True)
r = random.Random(1)
for i in range(200):
    with open(f"{folder}/seed{i}", "wb") as f:
        f.write(r.randbytes(r.randrange(4, 60)))
