/* Weights that a checkpoint stores otherwise than one matrix of floats a tensor: made anew when it is opened, into memory of their
 * own, under the names by which they are looked for. */
#ifndef SF_UNPACK_H
#define SF_UNPACK_H

#include "harness/model/config.h"
#include "harness/model/doubts.h"
#include "harness/model/gguf.h"
#include "harness/model/json.h"
#include "harness/model/safetensors.h"

/* gpt-oss: gate and up are columns of one tensor in turn, matrices stand transposed, or in MXFP4 as blocks and scales.
 * Makes PREFIXlayers.N.mlp.experts.{gate,up,down}, [E, m, d] or [E, d, m], and gate_bias and up_bias. */
sf_status sf_unpack_gpt_oss(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

/* Latent attention: makes PREFIXlayers.N.self_attn.k_b_proj.weight [H · r, own] of kv_b_proj's rows of keys, each head's transposed; its
 * values stay where they are. */
sf_status sf_unpack_latent(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);
/* Qwen3-Next: attention's queries and gates stand head by head in one tensor, and so do the projections of a key head of its delta
 * rule. Makes self_attn.q_proj and gate_proj, linear_attn.in_proj_{qkv,z,a,b}, as Qwen3.5 has the latter. */
sf_status sf_unpack_qwen3_next(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);
sf_status sf_unpack_qwen3_5(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);
/* … and of files that hold a layer's experts in two tensors, mlp.experts.gate_up_proj [E, 2m, d] and down_proj [E, d, m], each expert's
 * under the names that a tensor of its own has; nothing is copied for that. */
sf_status sf_unpack_qwen3_5_moe(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

/* Llama 4: of a layer's feed_forward.experts.{gate_up_proj, down_proj}, [E, in, out] in bf16, makes gate, up and down of all experts. */
sf_status sf_unpack_llama4(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

/* … and of Granite's, block_sparse_moe.input_linear and output_linear. */
sf_status sf_unpack_granite_experts(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

/* Falcon-H1: makes mamba.conv1d.scaled [channels, K], F32, of mamba.conv1d.weight, times what v, B and C are multiplied by in front of
 * it. */
sf_status sf_unpack_falcon_h1(sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c);

/* … of GGUF: adds to an attn_q of queries and gates attn_gate; to ssm_ba (Qwen3-Next) ssm_alpha and ssm_beta; and takes ssm_a, which
 * holds -exp(A), back to A, of a state space too. In `made`, which the caller unmaps. */
sf_status sf_unpack_delta_gguf(sf_gguf *g, const sf_model_config *c, sf_mapping *made);

/* Latent attention of GGUF: adds blk.N.attn_k_b.weight [H · r, own] and blk.N.attn_v_b.weight [H · value, r] to a file that has both in
 * attn_kv_b, in `made`, which the caller unmaps. */
sf_status sf_unpack_latent_gguf(sf_gguf *g, const sf_model_config *c, sf_mapping *made);

/* ---- quantised checkpoints ---- */

typedef enum sf_quantized { SF_UNQUANTIZED, SF_QUANT_FP8, SF_QUANT_COMPRESSED, SF_QUANT_AWQ, SF_QUANT_GPTQ } sf_quantized;

/* What config.json says of them. */
typedef struct sf_quantization {
    sf_quantized kind;
    int bits;         /* of a whole number: 4 or 8 */
    int group;        /* AWQ, GPTQ: columns that share a scale; 0: all */
    int block[2];     /* FP8: rows and columns that share a scale; 0: all */
    bool less_one;    /* GPTQ's first format, which stores each zero point less 1 */
} sf_quantization;

/* Reads quantization_config. packed: the quant_method that the family itself understands; NULL: none. Error: another method or
 * format, by name. Doubts: activations, or keys and values, that servers quantise too. */
sf_status sf_quantization_read(sf_json_at at, const char *packed, sf_quantization *out, sf_doubts *doubts);

/* Makes NAME.weight of what stands for it, of every NAME, in the dtype of its scales, or in BF16 where they are F32:
 *
 *     FP8           weight F8_E4M3, weight_scale_inv         compressed    weight_packed I32, or weight I8 or F8_E4M3, weight_scale
 *     AWQ, GPTQ     qweight I32, qzeros I32, scales */
sf_status sf_unpack_quantized(const sf_quantization *q, sf_safetensors *s, const char *folder);

/* ---- how: tensors are planned, then all made at once ---- */

typedef struct sf_unpack_item sf_unpack_item;
struct sf_unpack_item {
    char name[192];
    sf_tensor to;
    const sf_st_tensor *from[4];       /* NULL: absent. Of no use once tensors are added */
    const char *file;
    int at;                            /* of a tensor that it replaces, in the list of all; -1: none */
    void (*fill)(const sf_unpack_item *i);
    int which;                         /* of two that stand in turn: 0, 1 */
    struct { int64_t groups, first, rows; } piece[3]; /* some rows of each group of rows (unpack_delta.c) */
    float by[3];                       /* … each times this */
    sf_quantization how;
};

typedef struct sf_unpack {
    const char *folder;
    sf_unpack_item *item;
    int items, room;
    size_t bytes;
} sf_unpack;

/* A fill: to [E, m, d] = from [E, d, w], transposed, of its columns those from `which` · m on; of 16-bit numbers. */
void sf_unpack_transposed(const sf_unpack_item *i);

sf_status sf_unpack_add(sf_unpack *u, const sf_unpack_item *i);

/* Makes what is planned, adds it to the tensors of `s`, in place of one of that name, and frees the plan; with a status that is an
 * error already, only that. */
sf_status sf_unpack_run(sf_unpack *u, sf_status status, sf_safetensors *s);

/* The tensor, marked as used; error: it is not there, or of another type or shape. dim [rank]. */
sf_status sf_unpack_take(sf_safetensors *s, const char *folder, const char *name, const char *type, int rank, const int64_t *dim,
                         const sf_st_tensor **out);

#endif
