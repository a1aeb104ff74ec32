#!/bin/bash
# A step of decode of Bamba with a cache, asked of the model as one asks all others, turns its query and key as if it were the first token.
#
# transformers 5.24.0, torch 2.15 (CPU). model(input_ids=…, past_key_values=…) without position_ids counts positions on from the cache in
# GraniteMoeHybrid, Llama and the rest; BambaModel.forward takes torch.arange(rows), from 0, whatever the cache holds. generate() gives
# position_ids, so that texts are right; golden values made by hand, as one makes them of any model, are not, and nothing says so.
#
# Seen (relative error of a step's logits against the same tokens at once):
#        granitemoehybrid   told 9e-07   not told 9e-07
#        bamba              told 6e-07   not told 5e-01
#
# Exits 1 once that is no longer so. Needs python3 with venv and the network.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q transformers==5.24.0 'torch==2.15.*' numpy
"$T/venv/bin/python" - <<'EOF'
import torch
import transformers as T

torch.manual_seed(1)
SIZES = dict(vocab_size=320, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, mamba_n_heads=4,
             mamba_d_head=16, mamba_d_state=16)
ROWS = {"granitemoehybrid": ("GraniteMoeHybrid", dict(num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=32,
                                                      position_embedding_type="rope", layer_types=["linear_attention", "full_attention"])),
        "bamba": ("Bamba", dict(attn_layer_indices=[1]))}
seen = {}
with torch.no_grad():
    for name, (cls, more) in ROWS.items():
        model = getattr(T, cls + "ForCausalLM")(getattr(T, cls + "Config")(**SIZES, **more)).eval()
        for p in model.parameters():
            if p.ndim == 2:
                p.normal_(0, 1.6 / p.shape[1] ** 0.5)
        ids = torch.randint(10, 300, (1, 41))
        whole = model(input_ids=ids).logits[0, -1]
        for told in (True, False):
            before = model(input_ids=ids[:, :40], use_cache=True)
            place = dict(position_ids=torch.tensor([[40]])) if told else {}
            step = model(input_ids=ids[:, 40:], past_key_values=before.past_key_values, use_cache=True, **place).logits[0, -1]
            seen[name, told] = float((step - whole).norm() / whole.norm())
        print(f"{name:18} told {seen[name, True]:.0e}   not told {seen[name, False]:.0e}")
assert all(seen[k] < 1e-5 for k in seen if k != ("bamba", False)) and seen["bamba", False] > 1e-3, seen
EOF
