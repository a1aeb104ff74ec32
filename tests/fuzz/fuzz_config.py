"""Seeds for fuzz_config: fuzz_config.py FOLDER writes the golden checkpoints' config.json and the texts of positions.json."""
import glob
import json
import shutil
import sys

for i, path in enumerate(glob.glob("tests/golden/model/**/config.json", recursive=True)):
    shutil.copy(path, f"{sys.argv[1]}/config-{i}")
for i, row in enumerate(json.load(open("tests/golden/model/positions.json"))):
    json.dump(row["config"], open(f"{sys.argv[1]}/row-{i}", "w"))
