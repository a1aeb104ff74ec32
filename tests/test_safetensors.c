/* Hugging Face folders: the tiny checkpoints of five families, config.json in the layouts of transformers 4 and 5, and
 * a folder made here with each of its files wrong in turn. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/model/chat.h"
#include "harness/model/hf.h"
#include "harness/model/model.h"
#include "harness/model/safetensors.h"
#include "harness/model/tokenizer.h"
#include "harness/model/weights.h"
#include "tests/testing.h"

/* ---- a folder in memory ------------------------------------------------------------------------------------------ */

enum { FILES = 8 };

typedef struct part {
    const char *name;
    char *text;
    size_t data;
} part; /* data: bytes of zeros after a header */

typedef struct contents {
    part part[FILES];
    int parts;
} contents;

static char folder[64];

static int make_folder(void **state) { return (void)state, folder_make(folder); }

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *const NAMES[] = {"config.json",
                                    "generation_config.json",
                                    "tokenizer.json",
                                    "tokenizer_config.json",
                                    "chat_template.jinja",
                                    "model.safetensors",
                                    "model.safetensors.index.json",
                                    "model-1.safetensors",
                                    "model-2.safetensors",
                                    "model-00001-of-00002.safetensors",
                                    "model-00002-of-00002.safetensors",
                                    "pytorch_model.bin"};

static void empty_folder(void)
{
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) unlink(in_folder(NAMES[i]));
}

static int remove_folder(void **state)
{
    (void)state;
    empty_folder();
    return rmdir(folder);
}

static bool is_weights(const part *p) { return strstr(p->name, ".safetensors") && !strstr(p->name, ".json"); }

static void save(const contents *c)
{
    empty_folder();
    for (int i = 0; i < c->parts; i++) {
        const part *p = &c->part[i];
        FILE *f = fopen(in_folder(p->name), "wb");
        assert_non_null(f);
        if (is_weights(p)) {
            uint64_t length = (strlen(p->text) + 7) / 8 * 8; /* padded with spaces */
            fwrite(&length, 8, 1, f);
            fprintf(f, "%-*s", (int)length, p->text);
            fflush(f);
            assert_int_equal(ftruncate(fileno(f), ftell(f) + (off_t)p->data), 0); /* zeros that take no room */
        } else {
            fwrite(p->text, 1, strlen(p->text), f);
        }
        assert_int_equal(fclose(f), 0);
    }
}

static void add(contents *c, const char *name, char *text, size_t data)
{
    assert_true(text && c->parts < FILES);
    c->part[c->parts++] = (part){name, text, data};
}

static void free_contents(contents *c)
{
    for (int i = 0; i < c->parts; i++) free(c->part[i].text);
    *c = (contents){0};
}

/* ---- a whole small model: Qwen2, 1 layer, d 16, 2 query heads and 1 kv head of 8 --------------------------------- */

/* A JSON text as it would stand in a file. */
#define JSON(...) #__VA_ARGS__

static const char CONFIG[] = JSON(
    {"model_type": "qwen2", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
     "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 320, "max_position_embeddings": 512,
     "rms_norm_eps": 1e-06, "hidden_act": "silu", "rope_theta": 10000.0, "rope_scaling": null,
     "use_sliding_window": false, "sliding_window": 64, "max_window_layers": 1, "tie_word_embeddings": false});

enum { MLP = -1 };
static int mlp = 24; /* made huge by one test */

static const struct weight {
    const char *name;
    int rows, columns, shard;
} WEIGHTS[] = {
    {"model.embed_tokens.weight", 320, 16, 1},
    {"model.layers.0.input_layernorm.weight", 16, 0, 1},
    {"model.layers.0.self_attn.q_proj.weight", 16, 16, 1},
    {"model.layers.0.self_attn.q_proj.bias", 16, 0, 1},
    {"model.layers.0.self_attn.k_proj.weight", 8, 16, 1},
    {"model.layers.0.self_attn.k_proj.bias", 8, 0, 1},
    {"model.layers.0.self_attn.v_proj.weight", 8, 16, 1},
    {"model.layers.0.self_attn.v_proj.bias", 8, 0, 1},
    {"model.layers.0.self_attn.o_proj.weight", 16, 16, 2},
    {"model.layers.0.post_attention_layernorm.weight", 16, 0, 2},
    {"model.layers.0.mlp.gate_proj.weight", MLP, 16, 2},
    {"model.layers.0.mlp.up_proj.weight", MLP, 16, 2},
    {"model.layers.0.mlp.down_proj.weight", 16, MLP, 2},
    {"model.norm.weight", 16, 0, 2},
    {"lm_head.weight", 320, 16, 2},
};
enum { N_WEIGHTS = sizeof WEIGHTS / sizeof *WEIGHTS };

/* The header of a file with the weights of a shard (0: all), in BF16. */
static char *header(int shard, size_t *data)
{
    char *text = calloc(1, 1 << 14);
    size_t at = (size_t)sprintf(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    *data = 0;
    for (int i = 0; i < N_WEIGHTS; i++) {
        const struct weight *w = &WEIGHTS[i];
        if (shard && w->shard != shard) continue;
        int rows = w->rows == MLP ? mlp : w->rows, columns = w->columns == MLP ? mlp : w->columns;
        size_t bytes = 2 * (size_t)rows * (size_t)(columns ? columns : 1);
        char shape[32];
        snprintf(shape, sizeof shape, columns ? "[%d,%d]" : "[%d]", rows, columns);
        at += (size_t)sprintf(text + at, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                              w->name, shape, *data, *data + bytes);
        *data += bytes;
    }
    strcpy(text + at, "}");
    return text;
}

static void add_texts(contents *c)
{
    add(c, "config.json", strdup(CONFIG), 0);
    add(c, "tokenizer.json", file_read("tests/golden/model/qwen2/tokenizer.json", NULL), 0);
    add(c, "tokenizer_config.json", file_read("tests/golden/model/qwen2/tokenizer_config.json", NULL), 0);
    add(c, "generation_config.json", strdup("{\"eos_token_id\": [311, 309]}"), 0);
}

static contents whole_folder(void)
{
    contents c = {0};
    size_t data;
    add_texts(&c);
    char *text = header(0, &data);
    add(&c, "model.safetensors", text, data);
    return c;
}

static contents sharded_folder(void)
{
    contents c = {0};
    size_t data;
    add_texts(&c);
    char *index = calloc(1, 1 << 13);
    size_t at = (size_t)sprintf(index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (int i = 0; i < N_WEIGHTS; i++) {
        at += (size_t)sprintf(index + at, "%s\"%s\":\"model-%d.safetensors\"", i ? "," : "", WEIGHTS[i].name,
                              WEIGHTS[i].shard);
    }
    strcpy(index + at, "}}");
    add(&c, "model.safetensors.index.json", index, 0);
    for (int shard = 1; shard <= 2; shard++) {
        char *text = header(shard, &data);
        add(&c, shard == 1 ? "model-1.safetensors" : "model-2.safetensors", text, data);
    }
    return c;
}

/* JSON is full of quotes: in the tables below ' stands for ". */
static const char *quoted(const char *text, char *to)
{
    char *at = strcpy(to, text);
    while ((at = strchr(at, '\''))) *at = '"';
    return to;
}

/* Replaces the first `find` in the named file; "" stands for its beginning. */
static void replace(contents *c, const char *name, const char *find, const char *with)
{
    char buffer[2][512];
    find = quoted(find, buffer[0]);
    with = quoted(with, buffer[1]);
    for (int i = 0; i < c->parts; i++) {
        part *p = &c->part[i];
        if (strcmp(p->name, name) != 0) continue;
        char *at = strstr(p->text, find);
        if (!at) fail_msg("%s: no \"%s\" to replace", name, find);
        char *text = calloc(1, strlen(p->text) + strlen(with) + 1);
        memcpy(text, p->text, (size_t)(at - p->text));
        strcat(strcat(text, with), at + strlen(find));
        free(p->text);
        p->text = text;
        return;
    }
    fail_msg("no file %s", name);
}

static void expect_error(const char *what, const char *expected)
{
    char buffer[512];
    expected = quoted(expected, buffer);
    sf_model *m;
    if (sf_model_open(folder, &m) == SF_OK) fail_msg("%s: opened, expected: %s", what, expected);
    assert_null(m);
    if (!strstr(sf_error(), expected) || !strstr(sf_error(), folder)) {
        fail_msg("%s: expected \"%s\" and the path in: %s", what, expected, sf_error());
    }
}

/* ---- good folders ------------------------------------------------------------------------------------------------ */

static sf_model *open_good(const char *path)
{
    sf_model *m;
    if (sf_model_open(path, &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

static void whole_and_sharded(void **state)
{
    (void)state;
    contents a = whole_folder(), b = sharded_folder();
    save(&a);
    sf_model *m = open_good(folder);
    assert_int_equal(m->config.d, 16);
    assert_int_equal(m->config.head_dim, 8);
    assert_true(m->config.qkv_bias && !m->config.tied && !m->config.rope_interleaved && m->config.window == 0);
    assert_int_equal(m->bos, -1);
    assert_int_equal(m->stops, 2);
    assert_int_equal(m->stop[0], 311);
    assert_int_equal(m->weights.layer[0].down.dim[1], 24);
    assert_int_equal(m->weights.layer[0].k_bias.dim[0], 8);
    assert_true(m->weights.head.data != m->weights.embedding.data);
    assert_non_null(m->chat);
    char hash[33];
    strcpy(hash, m->hash);
    sf_model_close(m);

    save(&b);
    m = open_good(folder);
    assert_int_equal(m->mappings, 2);
    assert_string_equal(m->hash, hash); /* the same model, cut otherwise */
    sf_model_close(m);
    free_contents(&a);
    free_contents(&b);
}

/* What changes the hash, file by file. */
static void hashes(void **state)
{
    (void)state;
    static const struct { const char *file, *find, *with; bool changes; } rows[] = {
        {"config.json", "1e-06", "1e-05", true},
        {"config.json", "'rope_theta': 10000.0", "'rope_theta': 10001.0", true},
        {"config.json", "'max_position_embeddings': 512", "'max_position_embeddings': 513", true},
        {"config.json", "'hidden_act'", "'torch_dtype': 'bfloat16', 'hidden_act'", false},
        {"generation_config.json", "311, 309", "309, 311", true},
        {"generation_config.json", "311, 309", "311", true},
        {"tokenizer.json", "'ignore_merges':false", "'ignore_merges':true", true},
        {"tokenizer_config.json", "add_generation_prompt", "add_generation_prompt ", true},
        {"model.safetensors", "'format':'pt'", "'format':'np'", false},
        {"model.safetensors", "'BF16','shape':[16,24]", "'F16','shape':[16,24]", true},
    };
    contents c = whole_folder();
    save(&c);
    sf_model *m = open_good(folder);
    char hash[33];
    strcpy(hash, m->hash);
    sf_model_close(m);
    free_contents(&c);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        c = whole_folder();
        replace(&c, rows[i].file, rows[i].find, rows[i].with);
        save(&c);
        m = open_good(folder);
        if ((strcmp(m->hash, hash) != 0) != rows[i].changes) fail_msg("%s: %s", rows[i].file, rows[i].with);
        sf_model_close(m);
        free_contents(&c);
    }
    c = whole_folder();
    save(&c);
    FILE *f = fopen(in_folder("model.safetensors"), "r+b");
    fseek(f, -3, SEEK_END);
    fputc(1, f);
    fclose(f);
    m = open_good(folder);
    assert_string_not_equal(m->hash, hash);
    sf_model_close(m);
    free_contents(&c);
}

/* Above 1 GiB of weights pages are sampled: the first and last of every tensor are among them. */
static void hash_of_a_large_model(void **state)
{
    (void)state;
    mlp = 1 << 24; /* three matrices of 512 MiB, never written */
    contents c = whole_folder();
    replace(&c, "config.json", "'intermediate_size': 24", "'intermediate_size': 16777216");
    save(&c);
    mlp = 24;
    sf_model *m = open_good(folder);
    char hash[33];
    strcpy(hash, m->hash);
    const sf_tensor *down = &m->weights.layer[0].down;
    off_t start = (char *)down->data - (char *)m->mapping->data,
          bytes = (off_t)sf_bytes(down->dtype, sf_elements(down));
    sf_model_close(m);
    off_t at[] = {start, start + 4095, start + bytes - 1, start - 1,
                  start + bytes + 31}; /* down, up's last, the norm */
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        FILE *f = fopen(in_folder("model.safetensors"), "r+b");
        fseek(f, at[i], SEEK_SET);
        fputc(1, f);
        fclose(f);
        m = open_good(folder);
        assert_string_not_equal(m->hash, hash);
        strcpy(hash, m->hash);
        sf_model_close(m);
    }
    free_contents(&c);
}

/* Every published result is keyed by these: they change only when what the models compute does. */
static void embedded_family(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"models/frontier-mini/s", "0d217ac9b7d2d8a0ac02a69503450a88"},
                                          {"models/frontier-mini/m", "d3bbe1df95f04f55634c07aec1a85153"},
                                          {"models/frontier-mini/l", "14401fb378a69f045b38ca108e1531ac"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_model *m = open_good(rows[i][0]);
        assert_string_equal(m->hash, rows[i][1]);
        sf_model_close(m);
    }
}

static void tiny_checkpoints(void **state)
{
    (void)state;
    static const struct {
        const char *name, *architecture;
        int layers, heads, kv_heads, window, bos, stops, files;
        sf_rope_scaling scaling;
        sf_dtype dtype;
        bool tied;
    } rows[] = {
        {"qwen2", "qwen2", 2, 3, 1, 0, -1, 2, 1, SF_ROPE_PLAIN, SF_F32, false},
        {"qwen2-yarn", "qwen2", 2, 3, 1, 0, -1, 2, 1, SF_ROPE_YARN, SF_F32, true},
        {"qwen3", "qwen3", 2, 4, 2, 0, -1, 2, 1, SF_ROPE_PLAIN, SF_BF16, true},
        {"llama", "llama", 2, 4, 2, 0, 315, 2, 2, SF_ROPE_LLAMA3, SF_F32, false},
        {"mistral", "mistral", 2, 3, 1, 96, 316, 1, 1, SF_ROPE_PLAIN, SF_F32, false},
        {"gemma3", "gemma3", 7, 2, 1, 64, 2, 2, 1, SF_ROPE_LINEAR, SF_F32, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/golden/model/%s", rows[i].name);
        sf_model *m = open_good(path);
        const sf_model_config *c = &m->config;
        assert_string_equal(c->name, rows[i].name);
        assert_string_equal(c->architecture, rows[i].architecture);
        assert_int_equal(c->layers, rows[i].layers);
        assert_int_equal(c->heads, rows[i].heads);
        assert_int_equal(c->kv_heads, rows[i].kv_heads);
        assert_int_equal(c->head_dim, 16);
        assert_int_equal(c->window, rows[i].window);
        assert_int_equal(c->rope.scaling, rows[i].scaling);
        assert_int_equal(c->tied, rows[i].tied);
        assert_int_equal(m->bos, rows[i].bos);
        assert_int_equal(m->stops, rows[i].stops);
        assert_int_equal(m->mappings, rows[i].files);
        assert_int_equal(m->weights.embedding.dtype, rows[i].dtype);
        assert_non_null(m->chat);
        if (rows[i].scaling == SF_ROPE_YARN) assert_true(c->max_position == 2304 && c->rope.original_positions == 512);
        for (int l = 0; rows[i].window && l < c->layers; l++) {
            assert_int_equal(sf_layer_slides(c, l), c->layers == 2 || l != 5);
        }
        if (c->post_norms) {
            assert_true(c->embed_scale == (float)sqrt(32) && c->norm_offset == 1 && c->activation == SF_GELU_TANH);
            assert_true(c->attention_scale == (float)(1 / sqrt(24)) && c->rope.theta == 1e6 && c->rope.factor == 8);
            assert_true(c->rope_local.theta == 1e4 && c->rope_local.scaling == SF_ROPE_PLAIN);
        }
        sf_model_close(m);
    }
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static sf_model_config config_of(const char *json)
{
    sf_model_config c = {0};
    bool multimodal;
    sf_doubts doubts = {0};
    json_t *root = json_loads(json, 0, NULL);
    assert_non_null(root);
    if (sf_hf_config(root, "config.json", &c, &multimodal, &doubts) != SF_OK) fail_msg("%s\n%s", sf_error(), json);
    json_decref(root);
    return c;
}

static void same_config(const sf_model_config *a, const sf_model_config *b, const char *what)
{
    char x[33] = "", y[33] = "";
    sf_config_hash(a, x);
    sf_config_hash(b, y);
    if (strcmp(x, y) != 0) fail_msg("%s: configs differ", what);
}

/* The study's models: what their published config.json says is what configs/models has. */
/* Families whose layers are of several kinds: two spellings of one config, and what is refused by name. */
static void layers_that_differ(void **state)
{
    (void)state;
#define REST(...) #__VA_ARGS__ "}"
#define GEMMA4                                                                                                        \
    "{\"model_type\": \"gemma4_text\", \"hidden_size\": 64, \"intermediate_size\": 64, \"num_hidden_layers\": 4, "            \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 16, \"vocab_size\": 320, "                        \
    "\"vocab_size_per_layer_input\": 320, \"hidden_size_per_layer_input\": 4, \"layer_types\": [\"sliding_attention\", "     \
    "\"full_attention\", \"sliding_attention\", \"full_attention\"], "
#define NEMOTRON                                                                                                      \
    "{\"model_type\": \"nemotron_h\", \"hidden_size\": 64, \"intermediate_size\": 64, \"num_attention_heads\": 4, "         \
    "\"num_key_value_heads\": 2, \"head_dim\": 16, \"vocab_size\": 320, \"mamba_num_heads\": 4, \"mamba_head_dim\": 16, "  \
    "\"ssm_state_size\": 8, \"n_groups\": 2, "
    static const struct { const char *one, *other; } same[] = {
        {GEMMA4 REST("per_layer_config": {"1": {"head_dim": 32, "num_key_value_heads": 1}, "3": {"head_dim": 32, "num_key_value_heads": 1}},
                "attention_k_eq_v": true),
         GEMMA4 REST("global_head_dim": 32, "num_global_key_value_heads": 1, "attention_k_eq_v": true)},
        {GEMMA4 REST("global_head_dim": 16), GEMMA4 REST("per_layer_config": {}, "num_global_key_value_heads": 1)},
        {NEMOTRON REST("hybrid_override_pattern": "M-*EM", "moe_intermediate_size": 16, "num_hidden_layers": 52),
         NEMOTRON REST("layers_block_type": ["linear_attention", "mlp", "full_attention", "moe", "mamba"], "moe_intermediate_size": 16)},
    };
    static const struct { const char *json, *says; } refused[] = {
        {GEMMA4 REST("enable_moe_block": true), "num_experts"},
        {GEMMA4 REST("use_bidirectional_attention": "all"), "use_bidirectional_attention"},
        {GEMMA4 REST("per_layer_config": {"0": {"head_dim": 32}}), "per_layer_config: expected nothing of layers that slide"},
        {GEMMA4 REST("per_layer_config": {"1": {"head_dim": 32}}), "per_layer_config: expected the same of all layers"},
        {GEMMA4 REST("per_layer_config": {"1": {"sliding_window": 3}}), "per_layer_config.1.sliding_window"},
        {GEMMA4 REST("num_kv_shared_layers": 3), "layer 1 sees everything and reads another's keys"},
        {GEMMA4 REST("num_kv_shared_layers": 4), "num_kv_shared_layers"},
        {GEMMA4 REST("rope_parameters": {"sliding_attention": {"rope_type": "default", "partial_rotary_factor": 0.5}}), "partial_rotary_factor"},
        {NEMOTRON REST("hybrid_override_pattern": "M-*X"), "only M, *, - and E"},
        {NEMOTRON REST("layers_block_type": ["mlp", "conv"]), "only linear_attention, full_attention, mlp and moe"},
        {NEMOTRON REST("hybrid_override_pattern": "ME*", "moe_latent_size": 8), "moe_latent_size"},
        {NEMOTRON REST("hybrid_override_pattern": "M*", "use_bias": true), "use_bias"},
        {NEMOTRON REST("hybrid_override_pattern": "M*", "mamba_hidden_act": "gelu"), "mamba_hidden_act"},
        {NEMOTRON REST("num_hidden_layers": 2), "layers_block_type"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const sf_model_config a = config_of(same[i].one), b = config_of(same[i].other);
        same_config(&a, &b, same[i].one);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        sf_model_config c = {0};
        bool multimodal;
        sf_doubts doubts = {0};
        json_t *root = json_loads(refused[i].json, 0, NULL);
        if (sf_hf_config(root, "config.json", &c, &multimodal, &doubts) == SF_OK) fail_msg("accepted: %s", refused[i].json);
        if (!strstr(sf_error(), refused[i].says)) fail_msg("%s, expected of it \"%s\"", sf_error(), refused[i].says);
        json_decref(root);
    }
}

/* A number without end as Python's json writes it, in a list or alone; in a text the word stays. */
static void bare_infinity(void **state)
{
    (void)state;
    static const char TEXT[] = "{\"limit\": [0.0, Infinity], \"name\": \"to \\\"Infinity\\\" \", \"last\": Infinity}";
    char path[128];
    json_t *read = NULL, *wanted = json_loads("{\"limit\": [0.0, {\"__float__\": \"Infinity\"}], \"name\": \"to \\\"Infinity\\\" \","
                                              " \"last\": {\"__float__\": \"Infinity\"}}", 0, NULL);
    snprintf(path, sizeof path, "%s/infinite.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(TEXT, f);
    fclose(f);
    if (sf_json_read(path, 1 << 20, &read) != SF_OK) fail_msg("%s", sf_error());
    assert_true(json_equal(read, wanted));
    json_decref(read), json_decref(wanted);
    remove(path);
}

static void published_configs(void **state)
{
    (void)state;
#define QWEN(layers, d, heads, kv, mlp, window_layers)                                                                 \
    JSON({"model_type": "qwen2", "hidden_act": "silu", "hidden_size": d, "intermediate_size": mlp,                     \
          "max_position_embeddings": 32768, "max_window_layers": window_layers, "num_attention_heads": heads,          \
          "num_hidden_layers": layers, "num_key_value_heads": kv, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,      \
          "sliding_window": 131072, "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 152064})
#define LLAMA(layers, d, heads, mlp)                                                                                   \
    JSON({"model_type": "llama", "attention_bias": false, "hidden_act": "silu", "hidden_size": d,                      \
          "intermediate_size": mlp, "max_position_embeddings": 131072, "mlp_bias": false,                              \
          "num_attention_heads": heads, "num_hidden_layers": layers, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,  \
          "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,                             \
                           "original_max_position_embeddings": 8192, "rope_type": "llama3"},                           \
          "rope_theta": 500000.0, "tie_word_embeddings": false, "vocab_size": 128256})
#define GEMMA(...)                                                                                                     \
    JSON({"model_type": "gemma3", "eos_token_id": [1, 106],                                                            \
          "text_config": {"model_type": "gemma3_text", __VA_ARGS__, "sliding_window": 1024,                            \
                          "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},                                     \
          "vision_config": {}})
    static const struct { const char *shape, *json; } rows[] = {
        {"qwen2.5-7b", QWEN(28, 3584, 28, 4, 18944, 28)},
        {"qwen2.5-14b", QWEN(48, 5120, 40, 8, 13824, 70)},
        {"qwen2.5-32b", QWEN(64, 5120, 40, 8, 27648, 70)},
        {"qwen2.5-72b", QWEN(80, 8192, 64, 8, 29568, 70)},
        {"llama-3.1-8b", LLAMA(32, 4096, 32, 14336)},
        {"llama-3.1-70b", LLAMA(80, 8192, 64, 28672)},
        {"gemma-3-4b", GEMMA("hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34)},
        {"gemma-3-12b", GEMMA("hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48,
                              "num_attention_heads": 16, "num_key_value_heads": 8)},
        {"gemma-3-27b", GEMMA("hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
                              "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
                              "query_pre_attn_scalar": 168)},
        {"qwen3-30b-a3b",
         JSON({"model_type": "qwen3_moe", "attention_bias": false, "decoder_sparse_step": 1, "head_dim": 128, "hidden_act": "silu",
               "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 262144, "max_window_layers": 48,
               "mlp_only_layers": [], "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
               "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
               "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000000, "sliding_window": null,
               "tie_word_embeddings": false, "use_sliding_window": false, "vocab_size": 151936})},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[128];
        sf_model_config shape, config = config_of(rows[i].json);
        snprintf(path, sizeof path, "configs/models/%s.yaml", rows[i].shape);
        if (sf_shape_open(path, &shape) != SF_OK) fail_msg("%s", sf_error());
        same_config(&config, &shape, rows[i].shape);
    }
}

/* A config of some sizes, with the keys given. */
#define SIZES JSON("hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 8, "num_attention_heads": 4,       \
                   "num_key_value_heads": 2, "vocab_size": 100, "rms_norm_eps": 1e-6)
#define SIZED(type, ...) "{\"model_type\": \"" type "\", " SIZES ", " #__VA_ARGS__ "}"

/* The same model as transformers 4 and 5 write it, and in between. */
static void two_layouts(void **state)
{
    (void)state;
    static const struct { const char *what, *four, *five; } rows[] = {
        {"plain",
         SIZED("llama", "rope_theta": 5000.0, "rope_scaling": null),
         SIZED("llama", "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0})},
        {"yarn",
         SIZED("qwen2", "rope_theta": 1e6, "max_position_embeddings": 32768,
               "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
         SIZED("qwen2", "max_position_embeddings": 131072,
               "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6,
                                   "original_max_position_embeddings": 32768, "beta_fast": 32, "beta_slow": 1})},
        {"gemma",
         SIZED("gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 2e4, "sliding_window": 32,
               "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window_pattern": 3),
         SIZED("gemma3_text", "sliding_window": 32,
               "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                                   "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}},
               "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention",
                               "sliding_attention", "full_attention", "sliding_attention", "sliding_attention"])},
        {"gemma in between",
         SIZED("gemma3_text", "sliding_window": 32),
         SIZED("gemma3_text", "rope_theta": 1e6, "rope_local_base_freq": 10000, "rope_scaling": null,
               "sliding_window": 32, "rope_parameters": {"full_attention": {"rope_type": "default"},
                                                         "sliding_attention": {"rope_type": "default"}})},
        {"no window",
         SIZED("mistral", "sliding_window": null),
         SIZED("mistral", "sliding_window": null, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0})},
        {"late windows",
         SIZED("qwen2", "use_sliding_window": true, "sliding_window": 16, "max_window_layers": 6),
         SIZED("qwen2", "use_sliding_window": true, "sliding_window": 16,
               "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention", "full_attention",
                               "full_attention", "sliding_attention", "sliding_attention"])},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_model_config four = config_of(rows[i].four), five = config_of(rows[i].five);
        same_config(&four, &five, rows[i].what);
    }
    sf_model_config c = config_of(rows[1].four);
    assert_true(c.max_position == 131072 && c.rope.factor == 4 && c.rope.original_positions == 32768);
    c = config_of(rows[2].four);
    assert_true(c.sliding[0] && c.sliding[1] && !c.sliding[2] && c.head_dim == 256 && c.tied);
    c = config_of(rows[4].four);
    assert_int_equal(c.window, 0);
    c = config_of(SIZED("mistral", "rope_scaling" : null));
    assert_true(c.window == 4096 && c.sliding[0] && c.sliding[7]);
    c = config_of(rows[5].four);
    assert_true(c.window == 16 && !c.sliding[5] && c.sliding[6]);
    /* YaRN by rule: for checkpoints of the published length only. */
    c = config_of(SIZED("qwen2", "max_position_embeddings" : 32768));
    assert_true(c.rope.scaling == SF_ROPE_YARN && c.rope.factor == 0 && c.max_position == 131072);
    c = config_of(SIZED("qwen2", "max_position_embeddings" : 16384));
    assert_true(c.rope.scaling == SF_ROPE_PLAIN && c.max_position == 16384);
}

/* ---- spoiled folders --------------------------------------------------------------------------------------------- */

#define NORM "'model.norm.weight':{'dtype':'BF16','shape':[16]"

static const struct spoiled { const char *file, *find, *with, *expected; } SPOILED[] = {
    /* the header of the weights */
    {"model.safetensors", "{'__metadata__'", "'__metadata__'", "the header of a safetensors file: "},
    {"model.safetensors", "'format':'pt'}", "'format':'pt'", "the header of a safetensors file: "},
    {"model.safetensors", "'lm_head.weight'", "'model.norm.weight'", "duplicate object key"},
    {"model.safetensors", "'model.norm.weight'", "'model.norm.weigh'",
     "tensor model.norm.weight: expected shape [16] in its safetensors files, not found"},
    {"model.safetensors", "'model.norm.weight'", "''",
     "name of a tensor: expected 1 to 255 visible ASCII characters, found none"},
    {"model.safetensors", "'model.norm.weight'", "'model norm'",
     "name of a tensor: expected 1 to 255 visible ASCII characters, found others"},
    {"model.safetensors", "'model.norm.weight'", "'a\\u0000b'", "\\u0000"},
    {"model.safetensors", "'model.norm.weight':{", "'model.norm.weight':[],'x':{",
     "tensor model.norm.weight: expected an object"},
    {"model.safetensors", NORM, "'model.norm.weight':{'shape':[16]",
     "tensor model.norm.weight: dtype: expected a text, not found"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':7,'shape':[16]",
     "tensor model.norm.weight: dtype: expected a text, found 7"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF17','shape':[16]",
     "tensor model.norm.weight: dtype: expected F32, F16 or BF16, found 'BF17'"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'I16','shape':[16]",
     "tensor model.norm.weight: expected F32, F16 or BF16 of shape [16], found I16"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'F32','shape':[16]",
     "tensor model.norm.weight: data_offsets: expected 64 bytes, as dtype and shape say"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'F32','shape':[8]",
     "tensor model.norm.weight: expected shape [16], found [8]"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[4,4]",
     "tensor model.norm.weight: expected shape [16], found [4, 4]"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16'",
     "tensor model.norm.weight: shape: expected a list of at most 8 sizes, not found"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':16",
     "tensor model.norm.weight: shape: expected a list of at most 8 sizes, found 16"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[-16]",
     "tensor model.norm.weight: shape: expected a list of at most 8 sizes, found [-16]"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[16.0]",
     "tensor model.norm.weight: shape: expected a list"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[2,2,2,2,1,1,1,1,1]",
     "tensor model.norm.weight: shape: expected a list of at most 8 sizes"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[2,2,2,2,1]",
     "tensor model.norm.weight: expected F32, F16 or BF16 of shape [16]"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[9223372036854775807]",
     "tensor model.norm.weight: data_offsets: expected 18446744073709551614 bytes"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[9223372036854775808]",
     "too big integer"},
    {"model.safetensors", NORM, "'model.norm.weight':{'dtype':'BF16','shape':[4611686018427387904,4]",
     "tensor model.norm.weight: shape: expected fewer than 2^64 bytes"},
    {"model.safetensors", "[0,10240]", "[0]",
     "tensor model.embed_tokens.weight: data_offsets: expected a list of two byte offsets, found [0]"},
    {"model.safetensors", "[0,10240]", "[10240,0]",
     "tensor model.embed_tokens.weight: data_offsets: expected an ascending pair"},
    {"model.safetensors", "[0,10240]", "[-1,10239]",
     "tensor model.embed_tokens.weight: data_offsets: expected a list of two byte offsets, found [-1,10239]"},
    {"model.safetensors", "[0,10240]", "[0,9223372036854775807]",
     "tensor model.embed_tokens.weight: data_offsets: expected an ascending pair within the"},
    {"model.safetensors", "[0,10240]", "[0,10239]",
     "tensor model.embed_tokens.weight: data_offsets: expected 10240 bytes, as dtype and shape say, found [0,10239]"},
    {"model.safetensors", "[0,10240]", "[2,10242]",
     "tensor model.embed_tokens.weight: expected to begin at byte 0 of the data, where it starts, found 2"},
    {"model.safetensors", "[0,10240]", "[32,10272]", "expected to begin at byte 0 of the data"},
    {"model.safetensors", "[10240,10272]", "[10208,10240]",
     "expected to begin at byte 10240 of the data, where the one before it ends, found 10208"},
    {"model.safetensors", "[10240,10272]", "[10241,10273]", "data_offsets: expected a start aligned to the dtype"},
    {"model.safetensors", "'shape':[320,16],'data_offsets':[0,10240]",
     "'shape':[160,16],'data_offsets':[0,5120]",
     "expected to begin at byte 5120 of the data"},
    {"model.safetensors", "'lm_head.weight'", "'model.layers.1.mlp.bias'",
     "tensor lm_head.weight: expected shape [320, 16] in its safetensors files, not found"},
    {"model.safetensors", "'shape':[16,24]", "'shape':[24,16]",
     "tensor model.layers.0.mlp.down_proj.weight: expected shape [16, 24], found [24, 16]"},
    {"model.safetensors", "model.embed_tokens", "transformer.wte",
     "tensor embed_tokens.weight: expected in its safetensors files behind one of model., language_model.model., "
     "model.language_model., backbone., found lm_head.weight first"},

    /* the index and the shards */
    {"model.safetensors.index.json", "{'metadata'", "['metadata'", "model.safetensors.index.json:1:"},
    {"model.safetensors.index.json", "'weight_map'", "'weight_maps'", "weight_map: expected an object, not found"},
    {"model.safetensors.index.json", "'weight_map':{", "'weight_map':[],'x':{",
     "weight_map: expected an object, found []"},
    {"model.safetensors.index.json", "'weight_map':{", "'weight_map':{},'x':{",
     "weight_map: expected tensors, found none"},
    {"model.safetensors.index.json", "'model.norm.weight':'model-2", "'model.norm.weight':'model-3",
     "model-3.safetensors: cannot be opened"},
    {"model.safetensors.index.json", "'model.norm.weight':'model-2", "'model.norm.weight':'model-1",
     "tensor model.norm.weight: expected in model-1.safetensors, found in model-2.safetensors"},
    {"model.safetensors.index.json", "'model.norm.weight':'model-2.safetensors'", "'model.norm.weight':7",
     "weight_map.model.norm.weight: expected the name of a file in this folder, found 7"},
    {"model.safetensors.index.json", "'model.norm.weight':'model-2", "'model.norm.weight':'../model-2",
     "weight_map.model.norm.weight: expected the name of a file in this folder"},
    {"model.safetensors.index.json", "'model.norm.weight'", "'model.norm'",
     "tensor model.norm: expected in model-2.safetensors, not found"},
    {"model.safetensors.index.json", "'model.norm.weight':'model-2.safetensors',", "",
     "weight_map: expected tensor model.norm.weight of"},
    {"model.safetensors.index.json", "'model.norm.weight'", "'lm_head.weight'", "duplicate object key"},
    {"model-2.safetensors", "'model.norm.weight'", "'model.embed_tokens.weight'",
     "tensor model.embed_tokens.weight: expected once, found also in"},
    {"model-2.safetensors", "'data_offsets':[0,512]", "'data_offsets':[0,1024]",
     "model-2.safetensors: tensor model.layers.0.self_attn.o_proj.weight: data_offsets"},

    /* config.json */
    {"config.json", "{'model_type'", "'model_type'", "config.json:1:"},
    {"config.json", "{'model_type'", "[1, {'model_type'", "config.json:1:"},
    {"config.json", "'qwen2'", "'rwkv7'", "model_type: expected one of llama, mistral, ministral, qwen2, qwen3, "},
    {"config.json", "'qwen2'", "'rwkv7'", "found 'rwkv7'"},
    {"config.json", "'qwen2'", "'deepseek_v32'", "model_type: expected a family of `frontier list families`, found 'deepseek_v32', which has "
     "latent attention (MLA) behind an indexer (DSA): not computed here"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': null", "model_type: expected a text, found null"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 0",
     "hidden_size: expected a whole number from 1 to 1048576, found 0"},
    {"config.json", "'hidden_size': 16", "'hidden_size': '16'",
     "hidden_size: expected a whole number from 1 to 1048576, found '16'"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 16.5", "hidden_size: expected a whole number"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 9223372036854775807",
     "hidden_size: expected a whole number"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 9223372036854775808", "too big integer"},
    {"config.json", "'hidden_size': 16,", "", "hidden_size: expected a whole number from 1 to 1048576, not found"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 16, 'hidden_size': 16", "duplicate object key"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 18", "head dim: expected an even number, found 9"},
    {"config.json", "'hidden_size': 16", "'hidden_size': 32",
     "tensor model.embed_tokens.weight: expected shape [320, 32], found [320, 16]"},
    {"config.json", "'num_hidden_layers': 1", "'num_hidden_layers': 2",
     "tensor model.layers.1.input_layernorm.weight: expected shape [16]"},
    {"config.json", "'num_hidden_layers': 1", "'num_hidden_layers': 257",
     "num_hidden_layers: expected a whole number from 1 to 256, found 257"},
    {"config.json", "'num_attention_heads': 2", "'num_attention_heads': -2", "num_attention_heads"},
    {"config.json", "'num_key_value_heads': 1", "'num_key_value_heads': 3",
     "expected query heads to be a multiple of kv heads, found 2 and 3"},
    {"config.json", "'vocab_size': 320", "'vocab_size': 300",
     "tensor model.embed_tokens.weight: expected shape [300, 16], found [320, 16]"},
    {"config.json", "1e-06", "0", "rms_norm_eps: expected a number from 1e-12 to 1, found 0"},
    {"config.json", "'silu'", "'mish'", "hidden_act: expected silu, swish, gelu, gelu_pytorch_tanh, gelu_new, relu2 or xielu, found 'mish'"},
    {"config.json", "10000.0", "0.5", "rope_theta: expected a number from 1 to 1e+12, found 0.5"},
    {"config.json", "'rope_scaling': null", "'rope_scaling': {'type': 'dynamic'}",
     "rope_scaling.factor: expected a number from 1 to 1e+06, not found"},
    {"config.json", "'rope_scaling': null", "'rope_scaling': {'type': 'yarn'}",
     "rope_scaling.factor: expected a number from 1 to 1e+06, not found"},
    {"config.json", "'rope_scaling': null",
     "'rope_scaling': {'type': 'yarn', 'factor': 2, 'truncate': 1}", "rope_scaling.truncate: expected"},
    {"config.json", "'rope_scaling': null",
     "'rope_scaling': {'type': 'yarn', 'factor': 2, 'beta_slow': 64}",
     "rope: expected 0 < beta_slow < beta_fast"},
    {"config.json", "'rope_scaling': null", "'rope_scaling': {'rope_type': 'llama3', 'factor': 2}",
     "rope_scaling.low_freq_factor: expected a number"},
    {"config.json", "'rope_scaling': null", "'rope_scaling': {'rope_type': 'yarn', 'type': 'linear', 'factor': 2}",
     "rope_scaling.rope_type is 'yarn' and rope_scaling.type is 'linear': they contradict each other"},
    {"config.json", "'rope_scaling': null", "'rope_parameters': {'rope_type': 'default', 'rope_theta': 5000}",
     "rope_parameters.rope_theta is 5000 and rope_theta is 10000.0: they contradict each other"},
    {"config.json", "'rope_scaling': null",
     "'original_max_position_embeddings': 64, 'rope_scaling': {'type': 'yarn', 'factor': 2,"
     " 'original_max_position_embeddings': 128}",
     "rope_scaling.original_max_position_embeddings is 128 and original_max_position_embeddings is 64: they contradict"},
    {"config.json", "'rope_scaling': null",
     "'rope_parameters': {'rope_type': 'default'}, 'rope_scaling': {'type': 'linear', 'factor': 2}",
     "rope_parameters says theta 10000 and rope_scaling says theta 10000, linear, factor 2: they contradict"},
    {"config.json", "'rope_scaling': null", "'rope_parameters': {'full_attention': {'rope_type': 'default'}}",
     "rope_parameters.full_attention: expected one rotation for all layers, as every qwen2 has"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'gemma3_text', 'rope_parameters': {'rope_type': 'default'}",
     "rope_parameters: expected full_attention and sliding_attention in it"},
    {"config.json", "'rope_scaling': null", "'rope_scaling': [1]", "rope_scaling: expected an object, found [1]"},
    {"config.json", "'rope_scaling': null", "'rope_parameters': {'type': 'linear', 'factor': 2, 'partial_rotary_factor': 0.5}",
     "rope_parameters.partial_rotary_factor: expected 1"},
    {"config.json", "'use_sliding_window': false", "'use_sliding_window': 1",
     "use_sliding_window: expected true or false, found 1"},
    {"config.json", "'max_window_layers': 1", "'layer_types': ['full_attention', 'full_attention']",
     "layer_types: expected a list of 1 layer types"},
    {"config.json", "'max_window_layers': 1", "'layer_types': ['chunked_attention']",
     "layer_types: expected only full_attention and sliding_attention"},
    {"config.json", "'max_window_layers': 1", "'layer_types': ['sliding_attention']",
     "layer_types names sliding layers and use_sliding_window is false: they contradict each other"},
    {"config.json", "'max_window_layers': 1", "'quantization_config': {'bits': 4}",
     "quantization_config.quant_method: expected"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'gemma3_text', 'final_logit_softcapping': 30.0",
     "final_logit_softcapping: expected none, found 30.0"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'qwen3', 'head_dim': 8, 'attention_bias': true",
     "tensor model.layers.0.self_attn.q_norm.weight: expected shape [8]"},
    {"config.json", "'tie_word_embeddings': false", "'tie_word_embeddings': 'no'",
     "tie_word_embeddings: expected true or false, found 'no'"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'gemma3'",
     "text_config: expected an object, not found"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'qwen3', 'head_dim': 8",
     "tensor model.layers.0.self_attn.q_norm.weight: expected shape [8]"},
    {"config.json", "'model_type': 'qwen2'", "'model_type': 'llama'",
     "tensor model.layers.0.self_attn.k_proj.bias: expected none of this name in a 1-layer llama model"},

    /* the small files */
    {"generation_config.json", "[311, 309]", "[311, 320]",
     "eos_token_id: expected a token id below 320 or a list of up to 32, found [311,320]"},
    {"generation_config.json", "[311, 309]", "-1", "eos_token_id: expected a token id below 320"},
    {"generation_config.json", "[311, 309]", "'<|im_end|>'", "eos_token_id: expected a token id below 320"},
    {"generation_config.json", "[311, 309]", "[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6]",
     "eos_token_id: expected a token id below 320 or a list of up to 32"},
    {"generation_config.json", "{", "", "generation_config.json:1:"},
    {"tokenizer_config.json", "{", "", "tokenizer_config.json:2:"},
    {"tokenizer_config.json", "'chat_template': '", "'add_bos_token': 3, 'chat_template': '{{ bos_token }}",
     "add_bos_token: expected true or false, found 3"},
    {"tokenizer_config.json", "'chat_template': '", "'add_bos_token': true, 'chat_template': '",
     "bos_token: expected a token of the vocabulary, since one is to be added, found none"},
    {"tokenizer_config.json", "'chat_template': '", "'bos_token': 5, 'chat_template': '",
     "bos_token: expected a token"},
    {"tokenizer.json", "{", "", "tokenizer.json"},
};
enum { N_SPOILED = sizeof SPOILED / sizeof *SPOILED };
_Static_assert(N_SPOILED >= 100, "cases");

static bool of_shards(const char *file) { return strstr(file, "index") || strstr(file, "-2."); }

static void spoiled_files(void **state)
{
    (void)state;
    for (int i = 0; i < N_SPOILED; i++) {
        const struct spoiled *s = &SPOILED[i];
        contents c = of_shards(s->file) ? sharded_folder() : whole_folder();
        replace(&c, s->file, s->find, s->with);
        save(&c);
        expect_error(s->with, s->expected);
        free_contents(&c);
    }
    printf("             %d folders refused\n", N_SPOILED);
}

/* Length of the header, and files cut short anywhere. */
static void spoiled_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *expected;
    } rows[] = {
        {0, "the header of a safetensors file: "},
        {1, "the header of a safetensors file: "},
        {(uint64_t)1 << 63, "length of the header: expected at most"},
        {UINT64_MAX, "length of the header: expected at most"},
        {100000001, "length of the header: expected at most"},
    };
    contents c = whole_folder();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        save(&c);
        FILE *f = fopen(in_folder("model.safetensors"), "r+b");
        fwrite(&rows[i].length, 8, 1, f);
        fclose(f);
        expect_error("length", rows[i].expected);
    }
    save(&c);
    struct stat st;
    assert_int_equal(stat(in_folder("model.safetensors"), &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n -= n > 2000 ? 501 : 37) {
        assert_int_equal(truncate(in_folder("model.safetensors"), n), 0);
        expect_error("cut", "model.safetensors");
    }
    c.part[c.parts - 1].data += 8;
    save(&c);
    expect_error("longer", "expected tensors to cover the");
    free_contents(&c);
}

static void missing_files(void **state)
{
    (void)state;
    static const struct {
        const char *file, *expected;
        bool sharded;
    } rows[] = {
        {"config.json", "expected config.json (a Hugging Face folder) or one .gguf file in it, found neither", false},
        {"model.safetensors", "expected model.safetensors or model.safetensors.index.json in it, found neither", false},
        {"tokenizer.json", "tokenizer.json: expected, not found, nor an older vocabulary: download it", false},
        {"model-1.safetensors", "model-1.safetensors: cannot be opened: No such file", true},
        {"model-2.safetensors", "a shard of", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        contents c = rows[i].sharded ? sharded_folder() : whole_folder();
        save(&c);
        unlink(in_folder(rows[i].file));
        expect_error(rows[i].file, rows[i].expected);
        if (rows[i].file[0] == 'm') { /* a folder in its place */
            assert_int_equal(mkdir(in_folder(rows[i].file), 0700), 0);
            expect_error(rows[i].file, "expected a file, found a directory");
            assert_int_equal(rmdir(in_folder(rows[i].file)), 0);
        }
        free_contents(&c);
    }
}

/* ---- folders that are odd, and meant all the same ---------------------------------------------------------------- */

static void write_at(const char *name, long from_end, const void *bytes, size_t n)
{
    FILE *f = fopen(in_folder(name), "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -from_end, SEEK_END), 0);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* A vocabulary that is no tokenizer.json: the message names who makes one. */
static void older_vocabulary(void **state)
{
    (void)state;
    contents c = whole_folder();
    save(&c);
    char was[256];
    snprintf(was, sizeof was, "%s", in_folder("tokenizer.json"));
    assert_int_equal(rename(was, in_folder("tekken.json")), 0);
    expect_error("tekken.json", "tokenizer.json: expected, found tekken.json. transformers makes one of it: python3 -c");
    assert_int_equal(unlink(in_folder("tekken.json")), 0);
    free_contents(&c);
}

/* A head that is stored beside tie_word_embeddings: tied if it is the table, else believed. It is the file's last
 * tensor. */
static void stored_head(void **state)
{
    (void)state;
    contents c = whole_folder();
    replace(&c, "config.json", "'tie_word_embeddings': false", "'tie_word_embeddings': true");
    save(&c);
    sf_model *m = open_good(folder);
    assert_true(m->config.tied && m->weights.head.data == m->weights.embedding.data && m->doubts.n == 0);
    sf_model_close(m);
    write_at("model.safetensors", 1, "x", 1);
    m = open_good(folder);
    assert_true(!m->config.tied && m->weights.head.data != m->weights.embedding.data);
    assert_int_equal(m->doubts.n, 1);
    assert_non_null(strstr(m->doubts.text[0], "tensor lm_head.weight: tie_word_embeddings is true"));
    sf_model_close(m);
    free_contents(&c);
}

static void move(const char *from, const char *to)
{
    char old[256];
    snprintf(old, sizeof old, "%s", in_folder(from));
    assert_int_equal(rename(old, in_folder(to)), 0);
}

static void without_index(void **state)
{
    (void)state;
    contents a = whole_folder(), b = sharded_folder();
    save(&a);
    sf_model *m = open_good(folder);
    char hash[33];
    strcpy(hash, m->hash);
    sf_model_close(m);
    save(&b);
    unlink(in_folder("model.safetensors.index.json"));
    expect_error("names that say nothing", "expected model.safetensors or model.safetensors.index.json in it, found "
                                           "model-1.safetensors: give it the first of these names");
    move("model-1.safetensors", "model-00001-of-00002.safetensors");
    expect_error("one of two", "model-00002-of-00002.safetensors: cannot be opened");
    move("model-2.safetensors", "model-00002-of-00002.safetensors");
    m = open_good(folder);
    assert_string_equal(m->hash, hash);
    sf_model_close(m);
    unlink(in_folder("model-00001-of-00002.safetensors"));
    move("model-00002-of-00002.safetensors", "pytorch_model.bin");
    expect_error("pickles", "found pickles of PyTorch alone, which are programs and are not run here");
    move("pytorch_model.bin", "training_args.bin");
    expect_error("another pickle", "found neither: download the model");
    move("training_args.bin", "m-Q4_0.gguf");
    expect_error("GGUF", "found m-Q4_0.gguf: name that file itself");
    move("m-Q4_0.gguf", "adapter_model.safetensors");
    assert_int_equal(symlink("blobs/0123", in_folder("model.safetensors")), 0);
    expect_error("a link to nothing", "model.safetensors: cannot be opened: No such file or directory");
    assert_int_equal(unlink(in_folder("model.safetensors")), 0);
    expect_error("adapter", "found an adapter alone: merge it into its base model");
    assert_int_equal(unlink(in_folder("adapter_model.safetensors")), 0);
    free_contents(&a);
    free_contents(&b);
}

static void lfs_pointers(void **state)
{
    (void)state;
    static const char *const files[] = {"model.safetensors", "tokenizer.json", "config.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        contents c = whole_folder();
        save(&c);
        FILE *f = fopen(in_folder(files[i]), "w");
        fprintf(f, "version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 4096\n", 0);
        fclose(f);
        expect_error(files[i], "is a Git LFS pointer, not the file itself: run `git lfs pull`");
        free_contents(&c);
    }
}

/* As early writers left it: the data start anywhere. */
static void unpadded_header(void **state)
{
    (void)state;
    contents c = whole_folder();
    save(&c);
    sf_model *m = open_good(folder);
    char hash[33];
    strcpy(hash, m->hash);
    sf_model_close(m);
    const char *text = c.part[c.parts - 1].text;
    for (uint64_t blanks = 0; blanks < 8; blanks++) {
        uint64_t length = strlen(text) + blanks;
        FILE *f = fopen(in_folder("model.safetensors"), "wb");
        fwrite(&length, 8, 1, f);
        fprintf(f, "%*s%s", (int)blanks, "", text);
        fflush(f);
        assert_int_equal(ftruncate(fileno(f), ftell(f) + (off_t)c.part[c.parts - 1].data), 0);
        fclose(f);
        m = open_good(folder);
        assert_string_equal(m->hash, hash);
        sf_model_close(m);
    }
    free_contents(&c);
}

static void no_numbers(void **state)
{
    (void)state;
    contents c = whole_folder();
    save(&c);
    sf_model *m = open_good(folder);
    assert_int_equal(sf_weights_finite(m), SF_OK);
    sf_model_close(m);
    static const uint16_t nan = 0x7fc0; /* bf16 */
    write_at("model.safetensors", 2 * (16 + 3), &nan, 2);
    m = open_good(folder);
    assert_int_equal(sf_weights_finite(m), SF_BAD_INPUT);
    assert_non_null(
        strstr(sf_error(), "tensor output.weight (lm_head.weight): element [318, 13] is not a finite number"));
    sf_model_close(m);
    free_contents(&c);
}

/* Stop tokens come from config.json, then from the tokenizer, where generation_config.json does not say. */
static void stop_tokens(void **state)
{
    (void)state;
    contents c = whole_folder();
    replace(&c, "generation_config.json", "'eos_token_id': [311, 309]", "'do_sample': true");
    save(&c);
    sf_model *m = open_good(folder); /* tokenizer_config.json: "<|im_end|>" */
    assert_true(m->stops == 1 && m->stop[0] == sf_token_id(m->tokenizer, "<|im_end|>"));
    assert_int_equal(m->doubts.n, 1);
    assert_non_null(strstr(m->doubts.text[0], "generation_config.json: names no eos_token_id"));
    sf_model_close(m);
    replace(&c, "config.json", "{", "{'eos_token_id': 5, ");
    save(&c);
    m = open_good(folder);
    assert_true(m->stops == 1 && m->stop[0] == 5);
    sf_model_close(m);
    replace(&c, "config.json", "'eos_token_id': 5, ", "");
    replace(&c, "tokenizer_config.json", "'eos_token'", "'other'");
    save(&c);
    expect_error("no stop token", "eos_token_id: expected in generation_config.json or config.json, not found");
    free_contents(&c);
}

static void expect_rendering(const sf_model *m, const char *want)
{
    sf_jinja_output out;
    assert_non_null(m->chat);
    assert_int_equal(sf_chat_render(m->chat, "Hi", 2, &out), SF_OK);
    assert_string_equal(out.text, want);
    sf_jinja_output_free(&out);
}

/* Templates in files of their own win; one that is not supported leaves the model without a chat, and says why. */
static void templates(void **state)
{
    (void)state;
    contents c = whole_folder();
    add(&c, "chat_template.jinja", strdup("{% for m in messages %}a {{ m.content }} {% endfor %}"), 0);
    save(&c);
    sf_model *m = open_good(folder);
    expect_rendering(m, "a Hi ");
    assert_int_equal(sf_model_chat(m, "{\"system\": \"Yes?\"}"), SF_OK);
    expect_rendering(m, "a Yes? a Hi ");
    sf_model_close(m);
    free_contents(&c);

    c = whole_folder();
    add(&c, "chat_template.jinja", strdup("a {{ messages[0]['content'] | wordwrap }}"), 0);
    save(&c);
    m = open_good(folder);
    assert_null(m->chat);
    assert_non_null(strstr(m->no_chat, "chat template, line 1: not supported: the filter 'wordwrap'"));
    assert_int_equal(sf_model_chat(m, "\"none\""), SF_OK);
    expect_rendering(m, "Hi");
    sf_model_close(m);
    free_contents(&c);

    c = whole_folder();
    replace(&c, "tokenizer_config.json", "'chat_template': '",
            "'chat_template': [{'name': 'rag', 'template': 'b {{ messages[0].content }}'}, {'name': 'default', 'template': "
            "'c {{ messages[0].content }}'}], 'old': '");
    save(&c);
    m = open_good(folder);
    expect_rendering(m, "c Hi");
    assert_int_equal(sf_model_chat(m, "{\"template\": \"rag\"}"), SF_OK);
    expect_rendering(m, "b Hi");
    sf_model_close(m);
    free_contents(&c);

    c = whole_folder();
    replace(&c, "tokenizer_config.json", "'chat_template'", "'none'");
    save(&c);
    m = open_good(folder);
    assert_null(m->chat);
    assert_non_null(strstr(m->no_chat, "expected a chat template, found none"));
    assert_non_null(strstr(m->no_chat, "chat: none for a base model"));
    sf_model_close(m);
    free_contents(&c);
}

/* ---- random weights ---------------------------------------------------------------------------------------------- */

static void random_weights(void **state)
{
    (void)state;
    sf_model_config c = config_of(SIZED("gemma3_text", "head_dim" : 32, "sliding_window" : 32));
    sf_model *a, *b, *other;
    assert_int_equal(sf_model_random(&c, 7, &a), SF_OK);
    assert_int_equal(sf_model_random(&c, 7, &b), SF_OK);
    assert_int_equal(sf_model_random(&c, 8, &other), SF_OK);
    if (sf_model_validate(a, "random") != SF_OK) fail_msg("%s", sf_error());
    assert_string_equal(a->hash, b->hash);
    assert_string_not_equal(a->hash, other->hash);
    assert_int_equal(a->mapping->bytes, b->mapping->bytes);
    assert_memory_equal(a->mapping->data, b->mapping->data, a->mapping->bytes);
    const sf_tensor *q = &a->weights.layer[3].q, *k = &a->weights.layer[4].q;
    assert_memory_not_equal(q->data, k->data, 1024);
    assert_memory_not_equal(q->data, other->weights.layer[3].q.data, 1024);

    double sum = 0, squares = 0;
    int64_t n = sf_elements(q);
    float *values = malloc((size_t)n * sizeof *values);
    sf_to_f32(q->dtype, q->data, values, n);
    for (int64_t i = 0; i < n; i++) sum += values[i], squares += values[i] * values[i];
    assert_true(fabs(sum / (double)n) < 0.01 && fabs(squares / (double)n * c.d - 1) < 0.1); /* deviation 1/sqrt(d) */
    sf_to_f32(SF_BF16, a->weights.final_norm.data, values, c.d);
    assert_true(values[0] == 0 && values[c.d - 1] == 0); /* Gemma's norms add one */
    free(values);
    sf_model_close(a);
    sf_model_close(b);
    sf_model_close(other);
    c.heads = 3;
    assert_int_equal(sf_model_random(&c, 7, &a), SF_BAD_INPUT);
    assert_null(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_and_sharded),     cmocka_unit_test(hashes),
        cmocka_unit_test(hash_of_a_large_model), cmocka_unit_test(tiny_checkpoints), cmocka_unit_test(embedded_family),
        cmocka_unit_test(published_configs),     cmocka_unit_test(two_layouts),
        cmocka_unit_test(layers_that_differ),    cmocka_unit_test(bare_infinity),
        cmocka_unit_test(spoiled_files),         cmocka_unit_test(spoiled_lengths),
        cmocka_unit_test(missing_files), cmocka_unit_test(older_vocabulary),         cmocka_unit_test(stored_head),
        cmocka_unit_test(without_index),         cmocka_unit_test(lfs_pointers),
        cmocka_unit_test(unpadded_header),       cmocka_unit_test(no_numbers),
        cmocka_unit_test(stop_tokens),           cmocka_unit_test(templates),
        cmocka_unit_test(random_weights),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
