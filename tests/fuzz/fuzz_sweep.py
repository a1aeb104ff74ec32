"""Seeds for fuzz_sweep: the configs that come with Frontier. Usage: fuzz_sweep.py FOLDER"""
import glob
import os
import shutil
import sys

for i, path in enumerate(glob.glob("configs/*.yaml") + glob.glob("examples/*.yaml")):
    shutil.copy(path, os.path.join(sys.argv[1], f"{i}.yaml"))
