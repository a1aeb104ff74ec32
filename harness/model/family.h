/* A model family: all that tells its checkpoints from Llama's, as data. Sizes come from the checkpoint. One file a family
 * in families/, one line in families/registry.c. What is left out is as in Llama. */
#ifndef SF_FAMILY_H
#define SF_FAMILY_H

#include "harness/model/doubts.h"
#include "harness/model/gguf.h"
#include "harness/model/json.h"
#include "harness/model/model.h"

/* How layers come to slide where config.json has no layer_types. */
typedef enum sf_sliding_rule {
    SF_NEVER_SLIDES,
    SF_EVERY_LAYER_SLIDES, /* where sliding_window is given */
    SF_SLIDES_FROM_LAYER,  /* where use_sliding_window is true, from layer max_window_layers on */
    SF_SLIDES_BUT_EVERY_NTH, /* n: sliding_window_pattern */
} sf_sliding_rule;

/* A layer's tensor that is called otherwise than Llama's; a NULL name is as there. */
typedef struct sf_tensor_name {
    size_t at; /* SF_LAYER_TENSOR(field) */
    const char *hf, *gguf;
} sf_tensor_name;
#define SF_LAYER_TENSOR(field) offsetof(sf_layer_weights, field)

/* Names of an expert's tensors in safetensors: "%d" is its number. */
typedef struct sf_expert_names { const char *part[SF_EXPERT_PARTS]; } sf_expert_names;

/* A JSON text as it would stand in a file. */
#define SF_JSON(...) #__VA_ARGS__

struct sf_safetensors;

typedef struct sf_family {
    const char *name; /* in shapes, messages and results; part of every key, so it never changes */

    /* ---- the graph ---- */
    bool qkv_bias;         /* on the projections to q, k and v */
    bool qk_norm;          /* RMSNorm over each head of q and k, before the rotation */
    bool qk_norm_whole;    /* with it: over all heads together */
    bool norm_after_rope;  /* … or after it */
    bool neighbours;       /* the two numbers that turn together are neighbours; else a half of the head apart */
    bool post_norms;       /* norms also on the outputs of attention and MLP */
    bool no_pre_norms;     /* with them: there alone */
    bool parallel;         /* attention and MLP side by side, behind one norm */
    bool layer_norm;       /* norms take the mean off too */
    bool norm_bias;        /* … and add a bias */
    bool gateless;         /* an MLP without gate */
    bool scaled_embedding; /* token embeddings times sqrt(d) */
    float norm_offset;     /* added to norm weights as safetensors store them */
    sf_activation activation;
    bool chunked;          /* sliding layers see their own chunk alone */
    bool scaled_input;     /* a row's one expert reads it times its share */
    bool latent;           /* attention over latents (latent.c): no keys and values of heads are stored */
    bool fused_experts;    /* files have gate and up of all experts in one tensor, those of each above each other */
    bool predicts_further; /* files hold layers behind the last, which guess at tokens to come, and which transformers leaves unread */
    int yarn_by_rule;      /* a checkpoint of this many positions takes four times as many through YaRN; 0: none */

    /* ---- config.json ---- */
    const char *model_type[3];   /* its names there; NULL where there are fewer */
    const char *wrapper;         /* model_type of a multimodal model whose text_config this is; NULL: none */
    const char *defaults;        /* JSON object: keys that a file may leave out, as transformers' class has them */
    double theta, local_theta;   /* rotation base where a file has none; local_theta: of sliding layers, 0: one for all */
    const char *activation_key;  /* NULL: hidden_act */
    const char *norm_eps_key;    /* NULL: rms_norm_eps */
    const char *packed;          /* quant_method of quantization_config whose weights `unpack` understands; NULL: none */
    bool proportional;           /* rotations of a layer type may be of rope_type proportional */
    double partial_rotary;       /* of a file that says nothing; 0: transformers does not look for the key here */
    sf_sliding_rule sliding;
    bool layer_types;            /* transformers obeys that key here */
    const char *recurrent_type;  /* what it calls layers that recur there; NULL: none does */
    const char *older_types[2];  /* older names of full_attention and of that; NULL: none */
    const char *final_norm;      /* the last norm's tensor; NULL: norm.weight */
    const char *embedding;       /* the embedding table; NULL: embed_tokens.weight */
    const char *layers_key[2];   /* a list of layers, and a text with a sign for each, which say how many there are; NULL: num_hidden_layers does */
    const char *const *refused;  /* keys (NULL-ended) of the class whose other graph we do not compute: see hf_config.c */
    const char *const *own;      /* keys (NULL-ended) that `read` reads, and other families do not have */
    sf_status (*unpack)(struct sf_safetensors *s, const char *folder, const char *prefix, const sf_model_config *c); /* unpack.h; NULL: nothing */
    sf_status (*read)(sf_json_at at, sf_model_config *c); /* keys of its own; NULL: none. Sizes are there already */

    /* ---- GGUF ---- */
    const char *gguf;      /* general.architecture and the prefix of its keys; NULL: not read from GGUF */
    bool interleaved;      /* llama.cpp's converter reorders the rows of q and k */
    bool gguf_experts;     /* of files of that architecture, those with experts are this family's */
    bool gguf_by_layer;    /* kv heads and MLPs may be of one size a layer, and layers that slide have heads of their own: `read_gguf` reads them */
    bool gguf_sections;    /* rotates by three axes, which are one where there are no pictures */
    const char *gguf_final_norm; /* NULL: output_norm.weight */
    sf_status (*read_gguf)(const sf_gguf *g, sf_model_config *c); /* what its keys leave to the reader; NULL: nothing */

    /* Ended by a row without names; NULL: none is called otherwise. Rows of one hf name share a tensor, in this order. */
    const sf_tensor_name *tensor;
    const sf_expert_names *expert; /* NULL: as Qwen's are called */
} sf_family;

extern const sf_family *const sf_families[]; /* NULL-ended */

/* By the name in one kind of source. NULL: there is none. */
const sf_family *sf_family_named(const char *name);            /* of shapes and configs */
const sf_family *sf_family_of_model_type(const char *type);    /* of config.json; wrappers are not among them */
const sf_family *sf_family_of_wrapper(const char *type);
const sf_family *sf_family_of_architecture(const char *gguf, bool experts);

/* Of a model_type that is known and not computed: what its layers have that the engine has not. NULL: nothing is known of it. */
const char *sf_family_lacks(const char *model_type);

/* "llama, mistral, …": the names known to one kind of source, for messages; `text` ends cut off rather than overflow. */
typedef enum sf_family_source { SF_IN_SHAPES, SF_IN_JSON, SF_IN_GGUF } sf_family_source;
const char *sf_family_list(sf_family_source source, size_t bytes, char *text);

/* Writes what the family fixes into an empty config; sf_family_finish() what it derives once sizes and positions are
 * there: scales that were not read, YaRN by rule where positions are plain and max_position is the published one. */
void sf_family_begin(const sf_family *f, sf_model_config *c);
void sf_family_finish(const sf_family *f, sf_model_config *c);

/* A `read` of attention_bias (q, k, v and o) and mlp_bias, as Llama and its kin have them, and the names of these keys. */
sf_status sf_family_biases(sf_json_at at, sf_model_config *c);
extern const char *const sf_family_bias_keys[];

/* Sets mark[l] of each layer that a list names; without the key nothing. */
sf_status sf_family_listed_layers(sf_json_at at, const char *key, const sf_model_config *c, uint8_t *mark, uint8_t value);
/* Which layers have positions, in no_rope_layers (1: it has, despite the name) and no_rope_layer_interval. */
sf_status sf_family_rotated_layers(sf_json_at at, sf_model_config *c);

/* The same of a mixture of experts: of Qwen and Mixtral (softmax), and of DeepSeek V3 and GLM (sigmoids with a correction, an MLP
 * that all rows share, dense layers first). */
sf_status sf_family_experts(sf_json_at at, sf_model_config *c);
sf_status sf_family_deepseek_experts(sf_json_at at, sf_model_config *c);
/* Latent attention: a `read` of its keys, and the names of what its two projections down share; of GGUF's, under `architecture`. */
sf_status sf_family_latent(sf_json_at at, sf_model_config *c);
sf_status sf_family_gguf_latent(const sf_gguf *g, const char *architecture, sf_model_config *c);
extern const sf_tensor_name sf_latent_tensors[];
/* … of layers with a gated delta rule and of gated attention, as Qwen3-Next and Qwen3.5 have them. */
sf_status sf_family_delta(sf_json_at at, sf_model_config *c);
sf_status sf_family_delta_experts(sf_json_at at, sf_model_config *c); /* … and experts beside one that all rows share */
sf_status sf_family_gguf_delta(const sf_gguf *g, const char *architecture, sf_model_config *c); /* of both */
extern const sf_tensor_name sf_delta_tensors[]; /* names of that shared one, and of the norm in front of either */
/* … of `key`, a list of the layers that attend, beside which all recur; without it all do attend. */
sf_status sf_family_attending(sf_json_at at, const char *key, sf_model_config *c);
/* … of layers with a state space (Mamba 2); and their tensors' names, which begin with mamba. in config.json's folders. */
sf_status sf_family_state_space(sf_json_at at, sf_model_config *c);
/* … under other names, which all have to be there. */
typedef struct sf_space_keys { const char *heads, *groups, *states, *kernel, *dim, *bias; } sf_space_keys;
sf_status sf_family_state_space_named(sf_json_at at, const sf_space_keys *keys, sf_model_config *c);
sf_status sf_family_gguf_state_space(const sf_gguf *g, const char *architecture, sf_model_config *c);
#define SF_STATE_SPACE_TENSORS                                                                        \
    {SF_LAYER_TENSOR(mixer_gate), .hf = "mamba.in_proj.weight", .gguf = "ssm_in.weight"},             \
    {SF_LAYER_TENSOR(mixer_in), .hf = "mamba.in_proj.weight", .gguf = "ssm_in.weight"},               \
    {SF_LAYER_TENSOR(decay_in), .hf = "mamba.in_proj.weight", .gguf = "ssm_in.weight"},               \
    {SF_LAYER_TENSOR(mixer_out), .hf = "mamba.out_proj.weight"},                                      \
    {SF_LAYER_TENSOR(decay_rate), .hf = "mamba.A_log"},                                               \
    {SF_LAYER_TENSOR(decay_shift), .hf = "mamba.dt_bias"}
sf_status sf_family_gguf_experts(const sf_gguf *g, const char *architecture, sf_model_config *c); /* softmax over all */

#endif
