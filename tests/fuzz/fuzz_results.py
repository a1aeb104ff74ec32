"""Seeds for fuzz_results: a small results file, made by the program that is built here. Usage: fuzz_results.py FOLDER"""
import os
import subprocess
import sys

CONFIG = """models: [tests/golden/model/qwen2]
tasks: [vt: {chains: 1, hops: 1}]
lengths: [1000]
sparsity: [0.5]
methods: {decode: [quest]}
samples: 2
output: 2
"""
folder = sys.argv[1]
frontier = os.environ.get("FRONTIER", "build/frontier")
seed = os.path.join(folder, "seed.h5")
if os.path.exists(frontier) and not os.path.exists(seed):
    config = os.path.join(folder, "..", "fuzz_results.yaml")
    with open(config, "w") as f:
        f.write(CONFIG)
    subprocess.run([frontier, "run", config, "-o", seed], stdout=subprocess.DEVNULL, check=True)
