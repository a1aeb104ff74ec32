"""Gemma 3 270M against transformers reading the same GGUF: ids of 300 texts, and logits of three prompts, one of 8192 tokens.

    python check_gemma3.py [models/gemma3-270m/gemma-3-270m-q4_k_m.gguf]         (needs `make tests build/tests/tools/ids`, 9 GB
    of disk in the folder for temporary files, and some minutes)

The weights are dequantised to fp32 by the `gguf` package, which also knows what transformers calls them; GGUF has 1 added to the
weights of norms. Texts are encoded by SentencePiece, given the file's pieces, scores and types, and by what transformers makes of
them: merges, which split a run of more than 31 blanks otherwise than SentencePiece (and llama.cpp) does, whose longest piece of
blanks comes first. Made with transformers 5.24, gguf 0.19, sentencepiece 0.2.3.
Exits non-zero if ids differ from SentencePiece's, or logits by more than 1e-3 of their norm.
"""
import glob
import os
import random
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../../.."
sys.path.insert(0, ROOT + "/tests/peers")
from vocabularies import text as hard_text

TEXTS, PROMPTS, ROWS, MOST = 300, (61, 1337, 8192), 64, 1e-3


def load(path):
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields["gemma3." + key].contents()
    config = Gemma3TextConfig(
        num_hidden_layers=get("block_count"), hidden_size=get("embedding_length"), intermediate_size=get("feed_forward_length"),
        num_attention_heads=get("attention.head_count"), num_key_value_heads=get("attention.head_count_kv"),
        head_dim=get("attention.key_length"), query_pre_attn_scalar=get("attention.key_length"),
        sliding_window=get("attention.sliding_window"), max_position_embeddings=get("context_length"),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"), vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        rope_parameters=dict(full_attention=dict(rope_type="default", rope_theta=get("rope.freq_base")),
                             sliding_attention=dict(rope_type="default", rope_theta=10000.0)),
        tie_word_embeddings=True, attn_implementation="sdpa")
    model = Gemma3ForCausalLM(config).float().eval()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config.num_hidden_layers)
    called = {names.get_name(name, try_suffixes=(".weight",)): name for name, _ in model.named_parameters()}
    weights = {}
    for t in reader.tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        weights[called[t.name]] = torch.from_numpy(w - 1 if "norm" in t.name else w.copy())
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model


def sentencepiece(path):
    """A processor of the file's pieces, whose types are numbered as in GGUF; those defined by the user stand there with blanks."""
    of = lambda key: gguf_fields["tokenizer.ggml." + key].contents()
    gguf_fields, model = gguf.GGUFReader(path).fields, sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(of("tokens"), of("scores"), of("token_type")):
        model.pieces.add(piece=text.replace(" ", "\u2581"), score=score, type=kind)
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True  # BPE
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def texts():
    rng = random.Random(22)
    prose = "".join(open(p, encoding="utf-8").read() for p in sorted(glob.glob(ROOT + "/*.md")))
    pieces = [prose[i:i + rng.randint(1, 400)] for i in (rng.randrange(len(prose) - 400) for _ in range(TEXTS // 2))]
    return pieces + [hard_text(rng) for _ in range(TEXTS - len(pieces))], prose


def ids_of(path, some):
    given = b"".join(b"%d\n%s" % (len(t.encode()), t.encode()) for t in some)
    out = subprocess.run([ROOT + "/build/tests/tools/ids", path], input=given, stdout=subprocess.PIPE, check=True).stdout
    return [list(map(int, line.split())) for line in out.decode().split("\n")[:len(some)]]


@torch.no_grad()
def compare(model, path, ids):
    every = -(-len(ids) // ROWS)
    hidden = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, ::every]
    theirs = model.lm_head(hidden).double().numpy()
    with tempfile.TemporaryDirectory() as folder:
        np.array(ids, np.int32).tofile(folder + "/ids")
        subprocess.run([ROOT + "/build/tests/test_families", "logits", path, folder + "/ids", folder + "/logits", str(every)], check=True)
        ours = np.fromfile(folder + "/logits", np.float32).reshape(theirs.shape).astype(np.float64)
    difference, norm = np.linalg.norm(ours - theirs, axis=1), np.linalg.norm(theirs, axis=1)
    error = np.linalg.norm(difference) / np.linalg.norm(norm)
    print(f"{len(ids)} tokens, {len(norm)} rows: |difference| / |reference| = {error:.2e}, worst row {np.max(difference / norm):.2e}, "
          f"{(ours.argmax(1) == theirs.argmax(1)).sum()} likeliest tokens equal", flush=True)
    return error <= MOST


def main():
    path = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ROOT + "/models/gemma3-270m/gemma-3-270m-q4_k_m.gguf")
    tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path))
    some, prose = texts()
    ours, good = ids_of(path, some), True
    references = {"SentencePiece": sentencepiece(path).encode,
                  "transformers": lambda t: tokenizer.encode(t, add_special_tokens=False)}
    for name, encode in references.items():
        differ = [(t, a, b) for t, a, b in zip(some, map(encode, some), ours) if a != b]
        good &= not differ or name == "transformers"
        print(f"{len(some)} texts, {sum(map(len, ours))} tokens: {len(differ)} differ from {name}", flush=True)
        for t, a, b in differ[:3]:
            i = next(i for i, (x, y) in enumerate(zip(a + [-1], b + [-1])) if x != y)
            print(f"  after {tokenizer.decode(a[max(0, i - 8):i])!r}: {a[i:i + 3]}, ours {b[i:i + 3]}, of {t!r}")
    model, all_ids = load(path), [tokenizer.bos_token_id] + tokenizer.encode(prose * 2, add_special_tokens=False)
    for n in PROMPTS:
        good &= compare(model, path, all_ids[:n])
    sys.exit(not good)


main()
