"""Seeds for fuzz_yaml: the configs that come with Frontier. Usage: fuzz_yaml.py FOLDER"""
import glob
import os
import shutil
import sys

for i, path in enumerate(glob.glob("configs/*.yaml") + glob.glob("configs/models/*.yaml")):
    shutil.copy(path, os.path.join(sys.argv[1], f"{i}.yaml"))
