"""What bf16 does to mixtures: positions of the seeded checkpoints that transformers' own bf16 takes astray from its fp32.

    python3 tests/peers/rounding.py [NAME[=TOKENS] ...]              (torch, transformers 5; on processors)

The same weights and prompt of 2100 tokens, or of 50 (tests/golden/model/make_seeded.py), eager attention, every 16th position, as test_families
looks at them. A row each: positions whose logits are beyond 1e-1 of fp32's; positions at which some layer sends the row to other
experts than fp32 does; how many of the former are among the latter; the worst position among those with fp32's experts in every
layer; and the largest lead, in the router's logits, of an expert that was dropped over the one that took its place, beside the
largest error of a router's logit anywhere: where the first is below twice the second, rounding alone explains the change.
"""
import glob
import os
import sys
import tempfile

import torch
import transformers

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."
sys.path.insert(0, ROOT + "/tests/golden/model")
import make_seeded as seeded  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

TOLERANCE = 1e-1
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def checkpoint(name, folder):
    source = f"{ROOT}/tests/golden/model/seeded/{name}"
    lines = open(source + "/tensors.txt").read().split("\n")
    start, tensors = int(lines[0]), {}
    for line in filter(None, lines[1:]):
        key, dtype, base, gain, *shape = line.split()
        tensors[key] = seeded.tensor(key, start, dtype, float(base), float(gain), [int(n) for n in shape])
    save_file(tensors, folder + "/model.safetensors", metadata={"format": "pt"})
    open(folder + "/config.json", "w").write(open(source + "/config.json").read())


def run(folder, dtype, ids):
    """Logits [tokens, vocab], and of each router its logits [tokens, experts]."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()
    routers = {}

    def keep(name):
        def hook(module, given, out):
            x = given[0].reshape(-1, given[0].shape[-1])
            routers[name] = torch.nn.functional.linear(x.to(module.weight.dtype), module.weight, getattr(module, "bias", None)).float()  # as rounded as its own
        return hook
    for name, module in model.named_modules():
        if type(module).__name__.endswith("Router") or name.endswith(("mlp.gate", "block_sparse_moe.gate")):
            module.register_forward_hook(keep(name))
    with torch.no_grad():
        logits = model(ids[None]).logits[0].float()
    return logits, routers, model.config.get_text_config()


def measure(name, tokens):
    with tempfile.TemporaryDirectory() as folder:
        checkpoint(name, folder)
        ids = torch.tensor(seeded.prompt(tokens)).long()
        want, exact, config = run(folder, torch.float32, ids)
        got, rounded, _ = run(folder, torch.bfloat16, ids)
    k = config.num_experts_per_tok
    changed, lead, error = torch.zeros(tokens, dtype=torch.bool), 0.0, 0.0
    for router in exact:
        a, b = exact[router], rounded[router]
        error = max(error, (a - b).abs().max().item())
        best, other = a.topk(k).indices, b.topk(k).indices
        kept = torch.zeros_like(a, dtype=torch.bool).scatter(1, best, True)
        took = torch.zeros_like(a, dtype=torch.bool).scatter(1, other, True)
        here = (kept != took).any(1)
        changed |= here
        if here.any():
            least = a.masked_fill(~(kept & ~took), float("-inf")).amax(1)
            most = a.masked_fill(~(took & ~kept), float("inf")).amin(1)
            lead = max(lead, (least - most)[here].max().item())
    looked = torch.arange(0, tokens, seeded.EVERY)
    off = ((got - want).norm(dim=1) / want.norm(dim=1))[looked]
    changed = changed[looked]
    astray = ~(off <= TOLERANCE)
    same = off[~changed].max().item() if (~changed).any() else float("nan")
    print(f"{name:20} {tokens:4} tokens, {len(exact)} routers: {int(astray.sum()):3} of {len(looked)} positions beyond {TOLERANCE:.0e}, {int(changed.sum()):3} with other "
          f"experts, {int((astray & changed).sum()):3} of the former among them; worst with the same experts {same:.1e}; lead {lead:.1e}, error "
          f"{error:.1e}", flush=True)


if __name__ == "__main__":
    names = sys.argv[1:] or ["gpt_oss"]
    for each in names:
        at = each.partition("=")
        measure(at[0], int(at[2] or 2100))
