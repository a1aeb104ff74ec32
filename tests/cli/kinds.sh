#!/bin/bash
# Kinds of layers in models that know their task (tests/golden/model/recast.py): mixtures, sinks, windows in every second layer, partial
# rotation, latent attention, layers that recur; and, of 512 tokens, a Gemma 2 that was taught (caps on scores and logits) and a Gemma 4 (heads of
# two sizes, layers that read others' keys, embeddings for each layer). Dense answers all, methods run and nothing warns (but that nothing is left to win); what is counted is what the kind's own
# rule gives, number by number; and what only holds the same weights otherwise answers, chooses and counts as the model that it was made of.
. "$(dirname "$0")/common.bash"
${PYTHON:-python3} tests/golden/model/recast.py "$T" || fail "recast.py"
"$FRONTIER" run tests/golden/model/kinds.yaml -v -o "$T/k.h5" -s "models=[models/frontier-mini/s, $T/moe, $T/partial, $T/windows, $T/sinks, $T/latent, $T/hybrid, $T/space, $T/beside]" \
    >"$T/out" 2>"$T/log" || fail "run: $(cat "$T/log")"
if grep WARNING "$T/out" "$T/log" | grep -v "smaller model is near 1"; then fail "the run warns"; fi
for model in s moe partial windows sinks latent hybrid space beside; do
    grep -q "^$model, niah, .* dense, exact 1.000" "$T/log" || fail "$model does not know its task: $(grep "^$model.*dense" "$T/log")"
done
"$FRONTIER" run tests/golden/model/taught/families.yaml -v -o "$T/c.h5" -s 'models=[tests/golden/model/taught/gemma2, tests/golden/model/taught/gemma4]' -s samples=2 -s 'sparsity=[0.5]' \
    -s 'methods={prefill: [vertical_slash, block_sparse, flex_prefill], decode: [quest, snapkv, ada_snapkv, oracle_topk]}' >"$T/out" 2>"$T/log" ||
    fail "run of caps: $(cat "$T/log")"
if grep WARNING "$T/out" "$T/log" | grep -v "smaller model is near 1"; then fail "the run of caps warns"; fi
for model in gemma2 gemma4; do
    grep -q "^$model, niah.* dense, exact 1.000" "$T/log" || fail "$model does not know its task: $(grep "^$model.*dense" "$T/log")"
done
"$FRONTIER" report "$T/k.h5" -f frontier -F png -o "$T/report" >"$T/out" 2>&1 || fail "report: $(cat "$T/out")"
if grep WARNING "$T/out" | grep -v "smaller model is near 1"; then fail "the report warns"; fi
for results in k c; do "$FRONTIER" export "$T/$results.h5" --jsonl || fail "export"; done >"$T/rows"
${PYTHON:-python3} - "$T/rows" <<'END' || fail "counts"
import json, sys

rows = [json.loads(l) for l in open(sys.argv[1])]
W, L, H, G, D, d, M, VOCAB = S = 256, 4, 3, 1, 64, 192, 512, 6144  # window, layers, heads, kv heads, head dim, width, MLP, vocabulary
SHAPE = {"gemma2": (64, 4, 4, 2, 16, 32, 64, 320), "gemma4": (64, 4, 4, 2, 32, 32, 64, 320)}
SLIDE = {"windows": 2, "sinks": 2, "gemma2": 2, "gemma4": 2}  # layers with a window
NARROW, INPUT = {"gemma4": 16}, {"gemma4": 4}  # a head where layers slide; a token's embedding for each layer
MLP = {"moe": 3 * d * M // 2 + d + 4 * d + 2 * 3 * d * M // 2, "sinks": 4 * d + 2 * 3 * d * M}  # shared, switch, router, two experts; router, two
READ = {"moe": 3 * d * M // 2 + d + 4 * d + 4 * 3 * d * M // 2, "sinks": 4 * d + 4 * 3 * d * M, "s": 3 * d * M, "windows": 3 * d * M}
BIAS = {"sinks": d + 4 + 4 * (2 * M + d)}  # of o, router, experts
q, rank, still = H * D + 2, D + 2, 2  # latents of queries and of keys and values, numbers of a head's key that are not rotated
LATENT = d * q + q * H * (still + D) + d * (D + rank) + H * rank * (still + D) + H * D * d  # to and from the latents
TAPS, SPACE = 4, (6 * 32 + 2 * 2 * 16, 6, 6 * 32, 6 * 16 * 32, 5 * 6 * 16 * 32 + 2 * 6 * 32)
# Layers that recur, and those of them that do not attend, beside four that do; numbers that a row's recurrence reads by a convolution, and
# those for each head; that it gives; that it holds; and FLOPs beside matrices and convolution.
RECURS = {"hybrid": (2, 2, 128, 2 * 4, 64, 4 * 16 * 16, 7 * 4 * 16 * 16), "space": (2, 2, *SPACE), "beside": (4, 0, *SPACE)}
wrong, checked = [], 0

def expect(row, what, found, right, tolerance=0):
    global checked
    checked += 1
    if abs(found - right) > tolerance:
        wrong.append(f"{row['model']}, {row['prefill_label']}, {row['decode_label']}, sample {row['sample']}: {what} {found}, expected {right}")

for r in rows:
    W, L, H, G, D, d, M, VOCAB = SHAPE.get(r["model"], S)
    slide, width, n = SLIDE.get(r["model"], 0), D * (2 if r["model"] in ("partial", "hybrid") else 1), r["input_tokens"]
    latent = r["model"] == "latent"  # whose cache is a row of the rotated part and the latent, the latent alone being values
    numbers, products = (D + rank, 2 * (D + rank) + 2 * rank) if latent else (2 * G * width, 4 * width)
    steps = r["output_tokens"] - r["truncated"]  # the prompt gives the first token; a token that ends the answer is not among them
    windows = near = slide * H * sum(min(i + 1, W) for i in range(n))
    whole = (L - slide) * H * sum(i + 1 for i in range(n))
    expect(r, "pairs of the prompt", r["prefill_attention_pairs"], windows + whole * (1 - r["prefill_achieved"]), 0.5)
    windows = close = slide * H * sum(min(n + s, W) for s in range(1, steps + 1))
    whole = (L - slide) * H * sum(n + s for s in range(1, steps + 1))
    expect(r, "pairs of steps", r["decode_attention_pairs"], windows + whole * (1 - r["decode_achieved"]), 0.5)
    narrow, P = NARROW.get(r["model"], width), INPUT.get(r["model"], 0)
    layer = (LATENT if latent else d * (2 * H + 2 * G) * width) + MLP.get(r["model"], 3 * d * M)
    if r["model"] == "hybrid":
        layer += d * H * width  # attention's gate
    layers = L * layer
    if P:  # the last two of four layers have no keys of their own, but an MLP twice as wide
        layers = d * (narrow + width) * (4 * H + 2 * G) + 2 * 3 * 3 * d * M + L * 3 * d * P
    R, alone, into, heads, out, state, flops = RECURS.get(r["model"], (0,) * 7)
    recurring = R * (2 * (d * (2 * out + into + heads) + TAPS * into) + flops) + alone * 2 * 3 * d * M
    expect(r, "linear FLOPs of the prompt", r["prefill_linear_flops"], 2 * (n * layers + d * VOCAB) + n * recurring)
    expect(r, "linear FLOPs of steps", r["decode_linear_flops"], 2 * steps * (layers + d * VOCAB) + steps * recurring)
    held = 2 * 4 * R * (state + (TAPS - 1) * into)  # bytes of states, read and written
    expect(r, "bytes of states in the prompt", r["prefill_linear_cache_bytes"], held)
    expect(r, "bytes of states in steps", r["decode_linear_cache_bytes"], steps * held)
    expect(r, "layers that recur alone", r["recurrent_layers"], alone)
    expect(r, "exact cost of the prompt", r["prefill_cost_exact"],
           r["prefill_linear_flops"] + r["prefill_attention_flops"] + r["prefill_estimation_flops"], 0.01 * r["prefill_cost_exact"])
    for what, phase, few in (("", "prefill", near), (" in steps", "decode", close)):
        many = r[phase + "_attention_pairs"] - few
        expect(r, "FLOPs of attention" + what, r[phase + "_attention_flops"], (products + 3) * many + (4 * narrow + 3) * few)
    expect(r, "bytes of the cache", r["prefill_attention_cache_bytes"], 4 * n * (numbers * (L - slide) + 2 * G * narrow * slide))
    expect(r, "bytes of the cache in steps", r["decode_attention_cache_bytes"],
           4 * (numbers * (r["decode_attention_pairs"] - close) + 2 * G * narrow * close) // H)
    if r["model"] in READ:
        elements = L * (d * (2 * H + 2) * D + READ[r["model"]] + (H + 2) * D + BIAS.get(r["model"], 0)) + d * VOCAB
        expect(r, "bytes of weights", r["prefill_linear_weight_bytes"], 2 * elements)

key = lambda r: (r["prefill_label"], r["prefill_sparsity"], r["decode_label"], r["decode_sparsity"], r["sample"])
own = {key(r): r for r in rows if r["model"] == "s"}
for r in rows:
    for what in ("strict", "output_tokens", "prefill_achieved", "decode_achieved", "prefill_attention_pairs", "decode_attention_pairs"):
        if r["model"] in ("moe", "partial", "latent"):
            expect(r, what, r[what], own[key(r)][what])
print("\n".join(wrong[:20]))
print(f"{len(rows)} rows, {checked} counts, {len(wrong)} wrong")
sys.exit(bool(wrong) or len(rows) != 11 * 8 * 2)
END
# The exact cost of rows that are normalised by α-entmax is of what was counted: values of what weighs alone. By the weights of softmax's `s`.
cp -rL models/frontier-mini/s "$T/entmax" && sed -i 's/"qwen2"/"frontier_mini"/; s/Qwen2ForCausalLM/FrontierMiniForCausalLM/; s/^{/{"entmax_alpha": 1.5,/' \
    "$T/entmax/config.json" || fail "a model of entmax"
"$FRONTIER" run tests/golden/model/kinds.yaml -o "$T/e.h5" -s "models=[models/frontier-mini/s, $T/entmax]" -s 'methods={}' -s 'sparsity=[]' -s samples=1 \
    >"$T/out" 2>"$T/log" || fail "run of entmax: $(cat "$T/log")"
"$FRONTIER" export "$T/e.h5" --jsonl >"$T/rows" || fail "export"
${PYTHON:-python3} - "$T/rows" <<'END' || fail "costs of entmax"
import json, sys

row = {r["model"]: r for r in map(json.loads, open(sys.argv[1]))}
soft, sparse = row["s"], row["entmax"]
executed = sum(sparse[f"prefill_{kind}_flops"] for kind in ("linear", "attention"))
assert abs(sparse["prefill_cost_exact"] / executed - 1) < 1e-9, (sparse["prefill_cost_exact"], executed)
keys = sparse["decode_attention_pairs"] // 3                                             # three heads read a key
values = sparse["decode_attention_cache_bytes"] / 4 / 64 - keys
cache = 4 * sparse["input_tokens"] * 64                                                  # layers, numbers of a key
wanted = soft["decode_cost_exact"] - 2 * cache + cache * (1 + values / keys)
assert abs(sparse["decode_cost_exact"] / wanted - 1) < 1e-9, (sparse["decode_cost_exact"], wanted)
assert values < 0.9 * keys and sparse["prefill_cost_exact"] < 0.9 * soft["prefill_cost_exact"], (values, keys)
assert sparse["prefill_cost_paper"] == soft["prefill_cost_paper"] and sparse["decode_cost_paper"] == soft["decode_cost_paper"]
END
echo "kinds: ok"
