"""Seeds for fuzz_safetensors: a file, headers and indices, each with the byte of its kind in front. Usage: fuzz_safetensors.py FOLDER"""
import json
import struct
import sys

one = {"x": {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]}, "y": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [64, 128]},
       "z": {"dtype": "I64", "shape": [], "data_offsets": [128, 136]}, "e": {"dtype": "U8", "shape": [120], "data_offsets": [136, 256]},
       "__metadata__": {"format": "pt"}}
header = json.dumps(one).encode()
index = {"metadata": {"total_size": 512}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
seeds = [bytes([0]) + struct.pack("<Q", len(header)) + header + bytes(256), bytes([1]) + header,
         bytes([1]) + b'{"h":{"dtype":"F16","shape":[1,2,8,8],"data_offsets":[0,256]}}   ',
         bytes([2]) + json.dumps(index).encode(), bytes([2]) + b'{"weight_map":{"x":"a.safetensors","y":"a.safetensors"}}']
for i, seed in enumerate(seeds):
    open(f"{sys.argv[1]}/seed{i}", "wb").write(seed)
