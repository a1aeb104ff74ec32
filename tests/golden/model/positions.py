"""Rotations and windows of config.json texts, as transformers understands them: positions.json, for test_positions.c.

Each row: a config (sizes that all share are added there too), a length, and either what AutoConfig and the model's own
rotary embedding make of them at that length (inverse frequencies of full and of sliding layers, the factor on cos and sin,
which layers slide) or "refused": text that our message must have, with the reason why we do not follow.

    python tests/golden/model/positions.py        # transformers 5.24, torch 2.15
"""
import json, os, tempfile
import torch, transformers
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=2,
             head_dim=16, vocab_size=100, rms_norm_eps=1e-6)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)
LONG = dict(rope_type="longrope", original_max_position_embeddings=128, short_factor=[1.0 + 0.1 * i for i in range(8)],
            long_factor=[1.0 + i for i in range(8)])
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
FULL, SLIDING = "full_attention", "sliding_attention"


def config(model_type, **keys):
    return dict(SIZES, model_type=model_type, max_position_embeddings=512) | keys


ROWS = [
    # transformers 4
    ("theta alone", config("llama", rope_theta=5e5)),
    ("nothing at all", config("llama")),
    ("linear", config("llama", rope_scaling=dict(type="linear", factor=2.0))),
    ("linear, rope_type", config("llama", rope_theta=1e6, rope_scaling=dict(rope_type="linear", factor=3))),
    ("both names of the type", config("llama", rope_scaling=dict(rope_type="linear", type="linear", factor=3))),
    ("llama3", config("llama", rope_theta=5e5, rope_scaling=dict(LLAMA3, original_max_position_embeddings=128))),
    ("yarn", config("qwen3", rope_theta=1e6, rope_scaling=dict(YARN))),
    ("yarn, betas", config("qwen3", rope_theta=1e6, rope_scaling=dict(YARN, beta_fast=16, beta_slow=2))),
    ("yarn, attention factor", config("qwen3", rope_scaling=dict(YARN, attention_factor=1.25))),
    ("yarn, mscale", config("llama", rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=1.0))),
    ("yarn, two mscales", config("llama", rope_scaling=dict(YARN, mscale=0.7, mscale_all_dim=1.3))),
    ("yarn, one mscale", config("llama", rope_scaling=dict(YARN, mscale=0.7))),
    ("yarn, factor null", config("qwen2", rope_scaling=dict(YARN, factor=None))),
    ("yarn without the original length", config("qwen2", rope_scaling=dict(type="yarn", factor=4.0))),
    ("yarn, original length beside it", config("qwen3", original_max_position_embeddings=128,
                                               rope_scaling=dict(type="yarn", factor=4.0))),
    ("llama3, original length beside it", config("llama", original_max_position_embeddings=128, rope_scaling=LLAMA3)),
    ("original length twice, equal", config("llama", original_max_position_embeddings=128,
                                            rope_scaling=dict(LLAMA3, original_max_position_embeddings=128))),
    ("original length without scaling", config("llama", original_max_position_embeddings=128)),
    ("empty dictionary", config("llama", rope_theta=2e4, rope_scaling={})),
    # transformers 5
    ("parameters", config("llama", rope_parameters=dict(rope_type="default", rope_theta=5e5))),
    ("parameters without a type", config("llama", rope_parameters=dict(rope_theta=5e5))),
    ("parameters, old name of the type", config("llama", rope_parameters=dict(type="linear", factor=2.0))),
    ("parameters, theta beside them", config("qwen2", rope_theta=1e6, rope_parameters=dict(YARN))),
    ("theta twice, equal", config("qwen2", rope_theta=1000000, rope_parameters=dict(YARN, rope_theta=1e6))),
    ("both dictionaries, equal", config("qwen3", rope_theta=1e6, rope_parameters=dict(YARN, rope_theta=1e6),
                                        rope_scaling=dict(YARN))),
    ("empty parameters beside scaling", config("qwen3", rope_theta=1e6, rope_parameters={}, rope_scaling=dict(YARN))),
    ("dynamic, within", config("llama", rope_scaling=dict(type="dynamic", factor=4.0))),
    ("dynamic, beyond", config("llama", rope_scaling=dict(type="dynamic", factor=4.0)), 700),
    ("longrope, within", config("qwen3", rope_scaling=dict(LONG))),
    ("longrope, beyond", config("qwen3", rope_scaling=dict(LONG)), 200),
    ("longrope, factor", config("qwen3", rope_parameters=dict(LONG, factor=2.0)), 200),
    ("longrope, attention factor", config("qwen3", rope_parameters=dict(LONG, attention_factor=1.5)), 200),
    ("phi3, original length beside it", config("phi3", original_max_position_embeddings=128, pad_token_id=0, rope_scaling=dict(
        type="longrope", short_factor=LONG["short_factor"], long_factor=LONG["long_factor"])), 200),
    # by layer type
    ("gemma3, transformers 4", config("gemma3_text", rope_theta=5e5, rope_local_base_freq=2e4, sliding_window=8,
                                      rope_scaling=dict(rope_type="linear", factor=8.0))),
    ("gemma3, defaults", config("gemma3_text", sliding_window=8)),
    ("gemma3, pattern", config("gemma3_text", sliding_window=8, sliding_window_pattern=3)),
    ("gemma3, layer types", config("gemma3_text", sliding_window=8, layer_types=[FULL, SLIDING] * 3 + [FULL])),
    ("gemma3, by layer type", config("gemma3_text", sliding_window=8, rope_parameters={
        FULL: dict(rope_type="linear", factor=8.0, rope_theta=5e5), SLIDING: dict(rope_type="default", rope_theta=2e4)})),
    ("gemma3, yarn on full layers", config("gemma3_text", sliding_window=8, rope_parameters={
        FULL: dict(YARN, rope_theta=5e5), SLIDING: dict(rope_type="default", rope_theta=2e4)})),
    ("gemma3, one type alone", config("gemma3_text", sliding_window=8, rope_parameters={FULL: dict(rope_theta=5e5)})),
    ("gemma3, bases beside", config("gemma3_text", sliding_window=8, rope_theta=5e5, rope_local_base_freq=2e4,
                                    rope_parameters={FULL: dict(rope_type="default"), SLIDING: dict(rope_type="default")})),
    # windows
    ("mistral", config("mistral", sliding_window=8)),
    ("mistral, window null", config("mistral", sliding_window=None)),
    ("mistral that has layer types", config("mistral", sliding_window=8, layer_types=[FULL, SLIDING, FULL] * 2 + [FULL])),
    ("mistral, layer types null", config("mistral", sliding_window=8, layer_types=None)),
    ("ministral", config("ministral", sliding_window=8, layer_types=[SLIDING, FULL, SLIDING] * 2 + [FULL])),
    ("qwen2, last layers slide", config("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=5)),
    ("qwen2, window not used", config("qwen2", use_sliding_window=False, sliding_window=8, max_window_layers=0)),
    ("qwen3, layer types", config("qwen3", use_sliding_window=True, sliding_window=8,
                                  layer_types=[SLIDING, FULL] * 3 + [FULL])),
    ("qwen3, layer types not used", config("qwen3", use_sliding_window=False, sliding_window=8, layer_types=[FULL] * 7)),
    ("llama, window of another family", config("llama", sliding_window=8)),
    ("llama, layer types of another family", config("llama", layer_types=[FULL] * 7)),
    ("llama, a partial rotation that it does not know", config("llama", rope_parameters=dict(partial_rotary_factor=0.5))),
    ("llama, the same beside", config("llama", partial_rotary_factor=0.5)),
    ("llama, another family's scale", config("llama", query_pre_attn_scalar=144)),
]
REFUSED = [
    ("theta twice", "rope_parameters.rope_theta is 500000.0 and rope_theta is 10000.0",
     config("llama", rope_theta=1e4, rope_parameters=dict(rope_theta=5e5))),
    ("both dictionaries", "they contradict each other",
     config("qwen3", rope_theta=1e6, rope_parameters=dict(rope_type="default"), rope_scaling=dict(YARN))),
    ("original length twice", "they contradict each other",
     config("qwen3", original_max_position_embeddings=64, rope_scaling=dict(YARN))),
    ("both names of the type", "they contradict each other",
     config("qwen3", rope_scaling=dict(YARN, type="linear"))),
    ("partial rotation of scaled positions", "partial_rotary_factor: expected 1",  # fails there
     config("llama", rope_parameters=dict(rope_type="linear", factor=4.0, partial_rotary_factor=0.5))),
    ("by layer type, where there are none", "rope_parameters.full_attention: expected one rotation",  # read as theta 10000
     config("llama", rope_parameters={FULL: dict(rope_theta=5e5), SLIDING: dict(rope_theta=1e4)})),
    ("flat, where layers differ", "rope_parameters: expected full_attention",  # read as if it were not there
     config("gemma3_text", sliding_window=8, rope_parameters=dict(rope_theta=5e5))),
    ("scaling twice", "they contradict each other",
     config("gemma3_text", sliding_window=8, rope_scaling=dict(rope_type="linear", factor=4.0),
            rope_parameters={FULL: dict(rope_type="linear", factor=8.0)})),
    ("bases twice", "they contradict each other",
     config("gemma3_text", sliding_window=8, rope_local_base_freq=1e3,
            rope_parameters={SLIDING: dict(rope_theta=2e4)})),
    ("window not used, layers slide", "they contradict each other",  # fails there
     config("qwen3", use_sliding_window=False, sliding_window=8, layer_types=[SLIDING] * 7)),
    ("unknown type", "rope_type: expected default, linear, llama3, yarn, dynamic or longrope", config("llama", rope_scaling=dict(rope_type="mrope"))),
    ("yarn that is longrope", "expected longrope, since there is a long_factor",
     config("phi3", pad_token_id=0, rope_scaling=dict(LONG, rope_type="yarn", factor=4.0))),
    ("fewer divisors than pairs", "long_factor: expected a list of 8 numbers", config("qwen3", rope_scaling=dict(LONG, long_factor=[1.0]))),
    ("linear without a factor", "rope_scaling.factor", config("llama", rope_scaling=dict(type="linear"))),
]


def rotation(rotary, layer_type, length):
    x, at = torch.zeros(1, 1, 16), torch.arange(length)[None]
    keys = {} if layer_type is None else dict(layer_type=layer_type)
    rotary(x, at, **keys)
    prefix = "" if layer_type is None else layer_type + "_"
    return [float(f) for f in getattr(rotary, prefix + "inv_freq")], float(getattr(rotary, prefix + "attention_scaling"))


@torch.no_grad()
def understood(keys, length):
    with tempfile.TemporaryDirectory() as folder:
        json.dump(keys, open(f"{folder}/config.json", "w"))
        c = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(c).model
    layers = [layer.self_attn for layer in model.layers]
    window = [getattr(a, "sliding_window", getattr(c, "sliding_window", None) if c.model_type == "mistral" else None)
              for a in layers]
    by_layer = hasattr(model.rotary_emb, "full_attention_inv_freq")
    full, scale = rotation(model.rotary_emb, FULL if by_layer else None, length)
    local, _ = rotation(model.rotary_emb, SLIDING, length) if by_layer and any(window) else (full, scale)
    return dict(frequency=full, scale=scale, local=local, window=[w or 0 for w in window], score=float(layers[0].scaling))


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    rows = [(*row, 100)[:3] for row in ROWS]  # a length where none is given
    rows = [dict(what=what, config=keys, length=n, **understood(keys, n)) for what, keys, n in rows]
    rows += [dict(what=what, config=keys, refused=text) for what, text, keys in REFUSED]
    with open(f"{HERE}/positions.json", "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(f"{len(rows)} rows, transformers {transformers.__version__}")
