#!/bin/bash
# transformers' Nemotron-H lets no step of its state space be less than time_step_min, a key that only says how weights begin elsewhere;
# time_step_limit, which says it there, is not read.
#
# transformers 5.24.0, torch 2.15 (CPU). In Mamba 2, Bamba and Granite 4 H steps lie within config.time_step_limit, and time_step_min is for
# initialisation; NemotronHMamba2Mixer.__init__ sets self.time_step_limit = (config.time_step_min, inf), 0.001 where a file says nothing.
#
# Seen (change of logits, relative):
#        time_step_min 1e-9 -> 0.6         2e-02
#        time_step_limit [0, inf] -> [0.6, inf]   0
#
# Exits 1 once that is no longer so. Needs python3 with venv and the network.
set -eu
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install -q transformers==5.24.0 'torch==2.15.*' numpy
cat >"$T/see.py" <<'EOF'
import torch
import transformers as T

SIZES = dict(vocab_size=320, hidden_size=32, intermediate_size=32, layers_block_type=["linear_attention", "full_attention", "mlp"], num_attention_heads=4,
             num_key_value_heads=2, head_dim=8, mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=16, n_groups=1)
ids = torch.arange(10, 60)[None]


@torch.no_grad()
def logits(**more):
    torch.manual_seed(1)
    model = T.NemotronHForCausalLM(T.NemotronHConfig(**SIZES | dict(time_step_min=1e-9) | more)).eval()
    for p in model.parameters():
        if p.ndim == 2:
            p.normal_(0, 1.6 / p.shape[1] ** 0.5)
        elif p.ndim == 1:
            p.fill_(0.5)
    return model(input_ids=ids).logits.double()


own = logits()
change = {name: float((logits(**more) - own).norm() / own.norm()) for name, more in
          {"time_step_min": dict(time_step_min=0.6), "time_step_limit": dict(time_step_limit=(0.6, float("inf")))}.items()}
print(change)
assert change["time_step_min"] > 1e-3 and change["time_step_limit"] == 0, change
EOF
"$T/venv/bin/python" "$T/see.py"
