"""Seeds for fuzz_quantized: of each checkpoint of tests/golden/model/quantized its quantization_config, and one matrix. Usage:
fuzz_quantized.py FOLDER"""
import glob
import json
import os
import struct
import sys

for folder in sorted(glob.glob("tests/golden/model/quantized/*/")):
    config = {"quantization_config": json.load(open(folder + "config.json"))["quantization_config"]}
    with open(folder + "model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    first = {name: t for name, t in header.items() if ".0.self_attn.q_proj." in name}
    at, kept, body = 0, {}, b""
    for name, t in first.items():
        begin, end = t["data_offsets"]
        kept[name] = {**t, "data_offsets": [at, at + end - begin]}
        at += end - begin
        body += data[begin:end]
    name = os.path.basename(folder.rstrip("/"))
    open(f"{sys.argv[1]}/{name}", "wb").write(b"\0".join([json.dumps(config).encode(), json.dumps(kept).encode(), body]))
