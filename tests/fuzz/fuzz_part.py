"""Seeds for fuzz_part: what a run leaves that is killed, without the header, which fuzz_part puts there. Usage: fuzz_part.py FOLDER"""
import glob
import os
import subprocess
import sys

CONFIG = """name: seed
models: [tests/golden/model/qwen2]
tasks: [vt: {chains: 1, hops: 1}]
lengths: [1000]
sparsity: [0.5]
methods: {decode: [quest, snapkv]}
samples: 1000
output: 2
picture: none
answer: direct
"""
HEADER, PARTS = 32, 4
folder = sys.argv[1]
results = os.path.join(folder, "..", "fuzz_part.h5")
if not os.listdir(folder):
    config = os.path.join(folder, "..", "fuzz_part.yaml")
    with open(config, "w") as f:
        f.write(CONFIG)
    run = subprocess.Popen([os.environ.get("FRONTIER", "build/frontier"), "run", config, "-o", results, "--overwrite"],
                           stderr=subprocess.PIPE)
    while len(parts := glob.glob(results + ".parts/*.part")) < PARTS:
        if run.poll() is not None:
            sys.exit(run.stderr.read().decode())
    run.kill()
    run.wait()
    for i, part in enumerate(parts):
        with open(part, "rb") as f, open(f"{folder}/seed{i}", "wb") as seed:
            seed.write(b"\1" + f.read()[HEADER:])
