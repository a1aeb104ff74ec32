"""Rotation frequencies and angles as transformers computes them, for tests/test_rope.c: writes rope.bin beside this script.

Computed with PyTorch's scalar code: its vector pow is off by one unit in the last place for a few frequencies.

For each case, little endian: float32 frequency[D/2], float32 scale, then for each position float32 cos[D/2], sin[D/2].
"""
import os

os.environ["ATEN_CPU_CAPABILITY"] = "default"

import numpy as np
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

POSITIONS = [0, 1, 77, 4095, 131071]

CASES = [  # as in test_rope.c
    (64, {"rope_type": "default", "rope_theta": 100000.0}),
    (128, {"rope_type": "default", "rope_theta": 1000000.0}),
    (256, {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0}),
    (128, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
           "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    (128, {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0, "original_max_position_embeddings": 32768}),
    (128, {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 129024 / 32768,
           "original_max_position_embeddings": 32768}),
    (64, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.5, "beta_fast": 24.0, "beta_slow": 2.0,
          "attention_factor": 1.25, "original_max_position_embeddings": 2048}),
    (96, {"rope_type": "dynamic", "rope_theta": 500000.0, "factor": 2.0, "original_max_position_embeddings": 32768}, 32768),
    (64, {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 32.0, "original_max_position_embeddings": 4096,
          "short_factor": [1.0] * 32, "long_factor": [1 + i * i / 32 for i in range(32)]}),
]

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rope.bin"), "wb") as f:
    for head_dim, rope, *most in CASES:
        config = LlamaConfig(head_dim=head_dim, hidden_size=head_dim * 4, num_attention_heads=4,
                             max_position_embeddings=most[0] if most else 131072, rope_parameters=rope)
        rotary = LlamaRotaryEmbedding(config)
        cos, sin = rotary(torch.zeros(1), torch.tensor([POSITIONS]))
        rotary.inv_freq.numpy().astype(np.float32).tofile(f)
        np.array([rotary.attention_scaling], np.float32).tofile(f)
        for i in range(len(POSITIONS)):
            cos[0, i, : head_dim // 2].numpy().tofile(f)
            sin[0, i, : head_dim // 2].numpy().tofile(f)
