/* GGUF files: a tiny one made here, whole; and each of its fields wrong in turn. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/model/chat.h"
#include "harness/model/gguf.h"
#include "harness/model/gguf_tokens.h"
#include "harness/model/model.h"
#include "harness/model/tokenizer.h"
#include "tests/testing.h"

enum { LAYERS = 2, D = 32, HEADS = 2, KV_HEADS = 1, HEAD_DIM = 16, MLP = 256, IM_START = 256, IM_END, LO, VOCAB };

/* ---- writing --------------------------------------------------------------------------------------------------------
 * Every field is marked with a name as it is written ("llama.block_count:value"), so that a test can say what to spoil.
 */

typedef struct mark {
    char name[96];
    size_t at;
} mark;

typedef struct file {
    unsigned char *data;
    size_t bytes, room, data_start;
    mark mark[2048];
    int marks;
    size_t tensors, keys;
} file;

static void put(file *f, const char *name, const void *from, size_t bytes)
{
    if (f->bytes + bytes > f->room) {
        f->room = 2 * (f->bytes + bytes);
        f->data = realloc(f->data, f->room);
        assert_non_null(f->data);
    }
    if (name) {
        assert_true(f->marks < 2048);
        f->mark[f->marks].at = f->bytes;
        snprintf(f->mark[f->marks++].name, sizeof f->mark->name, "%s", name);
    }
    if (from)
        memcpy(f->data + f->bytes, from, bytes);
    else
        memset(f->data + f->bytes, 0, bytes);
    f->bytes += bytes;
}

static const char *join(const char *a, const char *b)
{
    static char text[8][160]; /* as many as are in use at once, and more */
    static int turn;
    char *to = text[turn = (turn + 1) % 8];
    strcpy(stpcpy(to, a), b);
    return to;
}

static void put_u32(file *f, const char *name, uint32_t v) { put(f, name, &v, 4); }
static void put_u64(file *f, const char *name, uint64_t v) { put(f, name, &v, 8); }

static void put_text(file *f, const char *name, const char *text)
{
    put_u64(f, name, strlen(text));
    put(f, NULL, text, strlen(text));
}

static void put_key(file *f, const char *key, uint32_t type)
{
    put_text(f, join(key, ":name"), key);
    put_u32(f, join(key, ":type"), type);
    f->keys++;
}

static void key_u32(file *f, const char *key, uint32_t v)
{
    put_key(f, key, SF_GGUF_U32);
    put_u32(f, join(key, ":value"), v);
}

static void key_f32(file *f, const char *key, float v)
{
    put_key(f, key, SF_GGUF_F32);
    put(f, join(key, ":value"), &v, 4);
}

static void key_bool(file *f, const char *key, bool v)
{
    put_key(f, key, SF_GGUF_BOOL);
    put(f, join(key, ":value"), &v, 1);
}

static void key_text(file *f, const char *key, const char *v)
{
    put_key(f, key, SF_GGUF_STRING);
    put_text(f, join(key, ":value"), v);
}

static void key_array(file *f, const char *key, uint32_t element, uint64_t count)
{
    put_key(f, key, SF_GGUF_ARRAY);
    put_u32(f, join(key, ":element"), element);
    put_u64(f, join(key, ":count"), count);
}

/* The letter that stands for a byte in byte-level vocabularies, as UTF-8. */
static const char *letter(int byte)
{
    static char text[4];
    int code = byte, spare = 256;
    for (int b = 0; b <= byte; b++) {
        bool visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (!visible && b == byte) code = spare;
        spare += !visible;
    }
    if (code < 128)
        snprintf(text, sizeof text, "%c", code);
    else
        snprintf(text, sizeof text, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 63));
    return text;
}

typedef struct tensor_row {
    const char *name;
    uint32_t type;
    int rows, columns;
} tensor_row;

/* ggml's numbers */
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8, Q4_K = 12, Q6_K = 14, BF16 = 30 };

static const tensor_row TENSORS[] = {
    {"token_embd.weight", Q8_0, VOCAB, D},
    {"output_norm.weight", F32, D, 0},
    {"blk.0.attn_norm.weight", F32, D, 0},
    {"blk.0.attn_q.weight", Q4_0, HEADS *HEAD_DIM, D},
    {"blk.0.attn_k.weight", Q4_1, KV_HEADS *HEAD_DIM, D},
    {"blk.0.attn_v.weight", Q5_0, KV_HEADS *HEAD_DIM, D},
    {"blk.0.attn_output.weight", Q5_1, D, HEADS *HEAD_DIM},
    {"blk.0.ffn_norm.weight", F16, D, 0},
    {"blk.0.ffn_gate.weight", F16, MLP, D},
    {"blk.0.ffn_up.weight", BF16, MLP, D},
    {"blk.0.ffn_down.weight", Q6_K, D, MLP},
    {"blk.1.attn_norm.weight", BF16, D, 0},
    {"blk.1.attn_q.weight", F32, HEADS *HEAD_DIM, D},
    {"blk.1.attn_k.weight", F32, KV_HEADS *HEAD_DIM, D},
    {"blk.1.attn_v.weight", F32, KV_HEADS *HEAD_DIM, D},
    {"blk.1.attn_output.weight", F32, D, HEADS *HEAD_DIM},
    {"blk.1.ffn_norm.weight", F32, D, 0},
    {"blk.1.ffn_gate.weight", F32, MLP, D},
    {"blk.1.ffn_up.weight", F32, MLP, D},
    {"blk.1.ffn_down.weight", Q4_K, D, MLP},
};
enum { N_TENSORS = sizeof TENSORS / sizeof *TENSORS };

static size_t tensor_bytes(const tensor_row *t)
{
    static const struct {
        uint32_t type;
        int block, bytes;
    } sizes[] = {{F32, 1, 4},    {F16, 1, 2},    {BF16, 1, 2},   {Q4_0, 32, 18},   {Q4_1, 32, 20},
                 {Q5_0, 32, 22}, {Q5_1, 32, 24}, {Q8_0, 32, 34}, {Q4_K, 256, 144}, {Q6_K, 256, 210}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].type == t->type)
            return (size_t)t->rows * (t->columns ? t->columns : 1) / sizes[i].block * sizes[i].bytes;
    }
    fail_msg("type %u", t->type);
    return 0;
}

/* What a test may add to the file. */
typedef struct extras {
    void (*keys)(file *f);    /* more keys */
    const tensor_row *tensor; /* one more tensor, with its data */
    const void *data;
    const char *architecture; /* "llama" if NULL */
} extras;

static void write_keys(file *f, const extras *x)
{
    const char *arch = x->architecture ? x->architecture : "llama";
    key_text(f, "general.architecture", arch);
    key_text(f, "general.name", "tiny");
    key_u32(f, "general.alignment", 64);
    key_u32(f, join(arch, ".block_count"), LAYERS);
    key_u32(f, join(arch, ".context_length"), 4096);
    key_u32(f, join(arch, ".embedding_length"), D);
    key_u32(f, join(arch, ".feed_forward_length"), MLP);
    key_u32(f, join(arch, ".attention.head_count"), HEADS);
    key_u32(f, join(arch, ".attention.head_count_kv"), KV_HEADS);
    key_f32(f, join(arch, ".attention.layer_norm_rms_epsilon"), 1e-5f);
    key_f32(f, join(arch, ".rope.freq_base"), 500000);
    key_u32(f, join(arch, ".rope.dimension_count"), HEAD_DIM);
    key_text(f, "tokenizer.ggml.model", "gpt2");
    key_text(f, "tokenizer.ggml.pre", "smollm");
    key_array(f, "tokenizer.ggml.tokens", SF_GGUF_STRING, VOCAB);
    for (int i = 0; i < 256; i++) put_text(f, i == 0 ? "tokenizer.ggml.tokens:first" : NULL, letter(i));
    put_text(f, NULL, "<|im_start|>");
    put_text(f, NULL, "<|im_end|>");
    put_text(f, "tokenizer.ggml.tokens:last", "lo");
    key_array(f, "tokenizer.ggml.token_type", SF_GGUF_I32, VOCAB);
    for (int i = 0; i < VOCAB; i++) put_u32(f, NULL, i == IM_START || i == IM_END ? 3 : 1);
    key_array(f, "tokenizer.ggml.merges", SF_GGUF_STRING, 1);
    put_text(f, "tokenizer.ggml.merges:first", "l o");
    key_u32(f, "tokenizer.ggml.bos_token_id", IM_START);
    key_u32(f, "tokenizer.ggml.eos_token_id", IM_END);
    key_bool(f, "tokenizer.ggml.add_bos_token", false);
    key_text(f, "tokenizer.chat_template",
             "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
             "'<|im_end|>' + '\n'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
    if (x->keys) x->keys(f);
}

static void write_tensor(file *f, const tensor_row *t, uint64_t *offset)
{
    put_text(f, join(t->name, ":name"), t->name);
    put_u32(f, join(t->name, ":rank"), t->columns ? 2 : 1);
    put_u64(f, join(t->name, ":dim0"), (uint64_t)(t->columns ? t->columns : t->rows));
    if (t->columns) put_u64(f, join(t->name, ":dim1"), (uint64_t)t->rows);
    put_u32(f, join(t->name, ":type"), t->type);
    put_u64(f, join(t->name, ":offset"), *offset);
    *offset = (*offset + tensor_bytes(t) + 63) / 64 * 64;
}

static file write_file(const extras *x)
{
    static const extras none;
    if (!x) x = &none;
    file f = {0};
    uint64_t offset = 0;
    put(&f, "magic", "GGUF", 4);
    put_u32(&f, "version", 3);
    put_u64(&f, "tensors", N_TENSORS + (x->tensor != NULL));
    put_u64(&f, "keys", 0);
    write_keys(&f, x);
    memcpy(f.data + 16, &f.keys, 8);
    for (int i = 0; i < N_TENSORS; i++) write_tensor(&f, &TENSORS[i], &offset);
    if (x->tensor) write_tensor(&f, x->tensor, &offset);
    put(&f, NULL, NULL, (64 - f.bytes % 64) % 64);
    f.data_start = f.bytes;
    put(&f, "data", NULL, offset);
    if (x->tensor)
        memcpy(f.data + f.bytes - (tensor_bytes(x->tensor) + 63) / 64 * 64, x->data, tensor_bytes(x->tensor));
    return f;
}

static size_t find_mark(const file *f, const char *name)
{
    for (int i = 0; i < f->marks; i++) {
        if (strcmp(f->mark[i].name, name) == 0) return f->mark[i].at;
    }
    fail_msg("no field %s", name);
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static char folder[64], path[96];

static int make_folder(void **state)
{
    (void)state;
    if (folder_make(folder) != 0) return -1;
    snprintf(path, sizeof path, "%s/tiny.gguf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static void save(const file *f)
{
    file_write(path, f->data, f->bytes);
}

static sf_model *open_good(const file *f)
{
    save(f);
    sf_model *m;
    if (sf_model_open(path, &m) != SF_OK) fail_msg("%s", sf_error());
    return m;
}

static void expect_error(const char *what, const char *expected)
{
    sf_model *m;
    sf_status status = sf_model_open(path, &m);
    if (status == SF_OK) fail_msg("%s: opened, expected: %s", what, expected);
    assert_null(m);
    if (!strstr(sf_error(), expected) || !strstr(sf_error(), folder)) {
        fail_msg("%s: expected \"%s\" and the path in: %s", what, expected, sf_error());
    }
}

/* ---- whole files ------------------------------------------------------------------------------------------------- */

static void whole(void **state)
{
    (void)state;
    file f = write_file(NULL);
    for (uint32_t version = 2; version <= 3; version++) {
        memcpy(f.data + 4, &version, 4);
        sf_model *m = open_good(&f);
        const sf_model_config *c = &m->config;
        assert_string_equal(c->name, "tiny");
        assert_string_equal(c->architecture, "llama");
        assert_int_equal(c->layers, LAYERS);
        assert_int_equal(c->d, D);
        assert_int_equal(c->heads, HEADS);
        assert_int_equal(c->kv_heads, KV_HEADS);
        assert_int_equal(c->head_dim, HEAD_DIM);
        assert_int_equal(c->mlp, MLP);
        assert_int_equal(c->vocab, VOCAB);
        assert_int_equal(c->max_position, 4096);
        assert_true(c->tied && c->rope_interleaved && !c->qkv_bias && !c->qk_norm && !c->post_norms && c->window == 0);
        assert_true(c->rope.theta == 500000 && c->rope.scaling == SF_ROPE_PLAIN && fabs(c->norm_eps - 1e-5) < 1e-12);
        assert_true(c->attention_scale == 0.25f && c->embed_scale == 1 && c->norm_offset == 0 &&
                    c->activation == SF_SILU);
        assert_int_equal(m->bos, -1);
        assert_int_equal(m->stops, 1);
        assert_int_equal(m->stop[0], IM_END);
        assert_int_equal(sf_vocab_size(m->tokenizer), VOCAB);
        assert_int_equal(sf_token_id(m->tokenizer, "lo"), LO);
        if (!m->chat) fail_msg("%s", m->no_chat);
        assert_int_equal(m->weights.layer[0].down.dtype, SF_Q6_K);
        assert_int_equal(m->weights.layer[1].down.dtype, SF_Q4_K);
        assert_int_equal(m->weights.layer[0].up.dim[0], MLP);
        assert_int_equal(m->weights.layer[0].up.dim[1], D);
        assert_ptr_equal(m->weights.head.data, m->weights.embedding.data);
        size_t bytes = 0;
        for (int i = 0; i < N_TENSORS; i++) bytes += tensor_bytes(&TENSORS[i]);
        assert_int_equal(m->weight_bytes, bytes);
        sf_model_close(m);
    }
    sf_model *m; /* a folder that holds one file stands for it */
    assert_int_equal(sf_model_open(folder, &m), SF_OK);
    sf_model_close(m);
    free(f.data);
}

/* Any byte that can change an output changes the hash; a copy of the file does not. */
static void hashes(void **state)
{
    (void)state;
    file f = write_file(NULL);
    char first[33];
    sf_model *m = open_good(&f);
    strcpy(first, m->hash);
    assert_int_equal(strlen(first), 32);
    sf_model_close(m);
    m = open_good(&f);
    assert_string_equal(m->hash, first);
    sf_model_close(m);

    size_t at[] = {find_mark(&f, "data") + 5, f.bytes - 65, find_mark(&f, "llama.rope.freq_base:value") + 1,
                   find_mark(&f, "tokenizer.ggml.tokens:last") + 9,
                   find_mark(&f, "tokenizer.chat_template:value") + 40};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        f.data[at[i]] ^= 1;
        save(&f);
        if (sf_model_open(path, &m) ==
            SF_OK) { /* the fourth spoils the merge's product, which the tokenizer may refuse */
            assert_string_not_equal(m->hash, first);
            sf_model_close(m);
        } else {
            assert_int_equal(i, 3);
        }
        f.data[at[i]] ^= 1;
    }
    free(f.data);
}

/* Keys that other checkpoints have. */

static void yarn_keys(file *f)
{
    key_text(f, "llama.rope.scaling.type", "yarn");
    key_f32(f, "llama.rope.scaling.factor", 4);
    key_u32(f, "llama.rope.scaling.original_context_length", 1024);
}

static void linear_keys(file *f)
{
    key_text(f, "llama.rope.scaling.type", "linear");
    key_f32(f, "llama.rope.scaling.factor", 8);
}

static void unknown_scaling(file *f) { key_text(f, "llama.rope.scaling.type", "longrope"); }
static void split(file *f) { key_u32(f, "split.count", 3), key_u32(f, "split.no", 1); }
static void experts(file *f) { key_u32(f, "llama.expert_count", 8); }
static void window(file *f) { key_u32(f, "llama.attention.sliding_window", 128); }
static void eot(file *f) { key_u32(f, "tokenizer.ggml.eot_token_id", 7); }
static void wide_values(file *f) { key_u32(f, "llama.attention.value_length", 32); }
static void array_of_arrays(file *f) { key_array(f, "custom.nested", SF_GGUF_ARRAY, 0); }

static void optional_keys(void **state)
{
    (void)state;
    file f = write_file(&(extras){.keys = yarn_keys});
    sf_model *m = open_good(&f);
    const sf_rope_config *r = &m->config.rope;
    assert_true(r->scaling == SF_ROPE_YARN && r->factor == 4 && r->original_positions == 1024 && r->beta_fast == 32);
    assert_true(r->beta_slow == 1 && r->attention_factor == 0);
    sf_model_close(m);
    free(f.data);

    f = write_file(&(extras){.keys = linear_keys});
    m = open_good(&f);
    assert_true(m->config.rope.scaling == SF_ROPE_LINEAR && m->config.rope.factor == 8);
    sf_model_close(m);
    free(f.data);

    f = write_file(&(extras){.keys = window});
    m = open_good(&f);
    assert_true(m->config.window == 128 && sf_layer_slides(&m->config, 0) && sf_layer_slides(&m->config, 1));
    sf_model_close(m);
    free(f.data);

    f = write_file(&(extras){.keys = eot});
    m = open_good(&f);
    assert_true(m->stops == 2 && m->stop[0] == IM_END && m->stop[1] == 7);
    sf_model_close(m);
    free(f.data);

    f = write_file(NULL);
    f.data[find_mark(&f, "tokenizer.ggml.add_bos_token:value")] = 1;
    m = open_good(&f);
    assert_int_equal(m->bos, IM_START);
    sf_model_close(m);
    free(f.data);
}

static sf_model *open_without(const char *key)
{
    file f = write_file(NULL);
    f.data[find_mark(&f, key) + 8] = 'x'; /* it has another name */
    sf_model *m = open_good(&f);
    free(f.data);
    return m;
}

/* A key that is absent means what llama.cpp takes it for: BOS for some split patterns, ends of turns by their text. */
static void absent_keys(void **state)
{
    (void)state;
    static const struct {
        const char *model, *pre;
        bool adds;
    } rows[] = {{"gpt2", "llama-bpe", true}, {"gpt2", "tekken", true}, {"gpt2", "qwen2", false},
                {"gpt2", "smollm", false},   {"gpt2", NULL, false},    {"llama", "default", true}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        assert_int_equal(sf_gguf_adds_bos(rows[r].model, rows[r].pre), rows[r].adds);

    sf_model *m = open_without("tokenizer.ggml.add_bos_token:name");
    assert_int_equal(m->bos, -1);
    sf_model_close(m);
    m = open_without("tokenizer.ggml.eos_token_id:name");
    assert_true(m->stops == 1 && m->stop[0] == IM_END);
    sf_model_close(m);
}

/* A template that is not understood is no reason not to open: a config may bring its own prefix and suffix. */
static void no_template(void **state)
{
    (void)state;
    file f = write_file(NULL);
    size_t at = find_mark(&f, "tokenizer.chat_template:name") + 8;
    f.data[at + strlen("tokenizer.")] = 'x';
    sf_model *m = open_good(&f);
    assert_null(m->chat);
    assert_non_null(strstr(m->no_chat, "chat: none for a base model"));
    sf_model_close(m);
    free(f.data);
}

/* Llama 3's scaling, from its table; a table of something else is refused. */
static void rope_table(void **state)
{
    (void)state;
    float divisor[HEAD_DIM / 2];
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        double frequency = pow(500000, -2.0 * i / HEAD_DIM), wavelength = 2 * M_PI / frequency;
        double smooth = (8192 / wavelength - 1) / 3;
        divisor[i] = wavelength < 2048 ? 1 : wavelength > 8192 ? 8 : (float)(1 / ((1 - smooth) / 8 + smooth));
    }
    tensor_row row = {"rope_freqs.weight", F32, HEAD_DIM / 2, 0};
    file f = write_file(&(extras){.tensor = &row, .data = divisor});
    sf_model *m = open_good(&f);
    const sf_rope_config *r = &m->config.rope;
    assert_true(r->scaling == SF_ROPE_LLAMA3 && r->factor == 8 && r->low_freq_factor == 1 && r->high_freq_factor == 4);
    assert_true(r->original_positions == 8192 && r->theta == 500000);
    sf_model_close(m);
    free(f.data);

    divisor[0] = 1.5f;
    f = write_file(&(extras){.tensor = &row, .data = divisor});
    save(&f);
    expect_error("table", "tensor rope_freqs.weight: expected Llama 3's scaling");
    free(f.data);

    row.rows = 4;
    f = write_file(&(extras){.tensor = &row, .data = divisor});
    save(&f);
    expect_error("table", "tensor rope_freqs.weight: expected F32 [8], found F32 [4]");
    free(f.data);
}

/* ---- spoiled files ----------------------------------------------------------------------------------------------- */

static const struct spoiled {
    const char *field;
    int width; /* bytes written */
    uint64_t value;
    const char *expected;
} SPOILED[] = {
    {"magic", 4, 0x46554746, "expected a GGUF file"},
    {"version", 4, 1, "expected GGUF version 2 or 3, found 1"},
    {"version", 4, 4, "expected GGUF version 2 or 3, found 4"},
    {"version", 4, 0x03000000, "a big-endian file"},
    {"tensors", 8, UINT64_MAX, "a number of tensors that fits"},
    {"tensors", 8, (uint64_t)1 << 63, "a number of tensors that fits"},
    {"tensors", 8, N_TENSORS + 1, "name of a tensor"},
    {"tensors", 8, N_TENSORS - 1, "tensor blk.1.ffn_down.weight: expected shape [32, 256], not found"},
    {"tensors", 8, 0, "tensor token_embd.weight: expected, not found"},
    {"keys", 8, UINT64_MAX, "a number of keys that fits"},
    {"keys", 8, (uint64_t)1 << 62, "a number of keys that fits"},
    {"keys", 8, 0, "tensor general.architecture: expected 1 to 4 dimensions, found 8"},
    {"keys", 8, 1000, "name of a key"},
    {"general.architecture:name", 8, 0,
     "name of a key at byte 24: expected 1 to 65535 visible ASCII characters, found none"},
    {"general.architecture:name", 8, UINT64_MAX, "expected 18446744073709551615 bytes, found the end of the file"},
    {"general.architecture:name", 8, (uint64_t)1 << 63, "found the end of the file"},
    {"general.architecture:name", 8, 70000, "name of a key at byte 24"},
    {"general.architecture:type", 4, 13,
     "value of key general.architecture: expected a type number below 13, found 13"},
    {"general.architecture:type", 4, UINT32_MAX, "expected a type number below 13"},
    {"general.architecture:type", 4, SF_GGUF_ARRAY, "value of key general.architecture at byte"},
    {"general.architecture:value", 8, UINT64_MAX - 7, "value of key general.architecture at byte"},
    {"general.name:type", 4, SF_GGUF_U64, "name of a key"},
    {"general.alignment:value", 4, 0, "key general.alignment: expected 8 to 1048576, found 0"},
    {"general.alignment:value", 4, 48, "key general.alignment: expected a power of two, found 48"},
    {"general.alignment:value", 4, UINT32_MAX, "key general.alignment: expected 8 to 1048576, found 4294967295"},
    {"general.alignment:value", 4, 4096, "expected an offset that is a multiple of 4096"},
    {"general.alignment:type", 4, SF_GGUF_F32, "key general.alignment: expected an integer, found type f32"},
    {"llama.block_count:value", 4, 0, "key llama.block_count: expected 1 to 256, found 0"},
    {"llama.block_count:value", 4, UINT32_MAX, "key llama.block_count: expected 1 to 256, found 4294967295"},
    {"llama.block_count:value", 4, 1, "expected none of this name"},
    {"llama.block_count:value", 4, 3, "tensor blk.2.attn_norm.weight: expected shape [32], not found"},
    {"llama.block_count:type", 4, SF_GGUF_F32, "key llama.block_count: expected an integer, found type f32"},
    {"llama.context_length:value", 4, 0, "key llama.context_length"},
    {"llama.embedding_length:value", 4, 0, "key llama.embedding_length"},
    {"llama.embedding_length:value", 4, 64, "key llama.rope.dimension_count: expected the head dim, 32, found 16"},
    {"llama.feed_forward_length:value", 4, 512,
     "tensor blk.0.ffn_gate.weight: expected shape [512, 32], found [256, 32]"},
    {"llama.feed_forward_length:value", 4, UINT32_MAX, "key llama.feed_forward_length"},
    {"llama.attention.head_count:value", 4, 0, "key llama.attention.head_count"},
    {"llama.attention.head_count:value", 4, 3, "key llama.rope.dimension_count: expected the head dim, 10"},
    {"llama.attention.head_count:name", 1, 1, "value of key l: expected a type number below 13"},
    {"llama.attention.head_count_kv:value", 4, 0, "key llama.attention.head_count_kv"},
    {"llama.attention.head_count_kv:value", 4, 2,
     "tensor blk.0.attn_k.weight: expected shape [32, 32], found [16, 32]"},
    {"llama.attention.head_count_kv:value", 4, 3, "expected query heads to be a multiple of kv heads, found 2 and 3"},
    {"llama.attention.layer_norm_rms_epsilon:value", 4, 0x7fc00000, "key llama.attention.layer_norm_rms_epsilon"},
    {"llama.attention.layer_norm_rms_epsilon:value", 4, 0, "key llama.attention.layer_norm_rms_epsilon"},
    {"llama.attention.layer_norm_rms_epsilon:type", 4, SF_GGUF_I32, "expected a real number, found type i32"},
    {"llama.rope.freq_base:value", 4, 0x7f800000, "key llama.rope.freq_base"},
    {"llama.rope.freq_base:value", 4, 0xbf800000, "key llama.rope.freq_base"},
    {"llama.rope.dimension_count:value", 4, 8, "key llama.rope.dimension_count: expected the head dim, 16, found 8"},
    {"tokenizer.ggml.tokens:element", 4, SF_GGUF_U8, "name of a key"},
    {"tokenizer.ggml.tokens:element", 4, SF_GGUF_ARRAY, "expected an array of scalars or strings"},
    {"tokenizer.ggml.tokens:element", 4, 99, "found element type number 99"},
    {"tokenizer.ggml.tokens:count", 8, UINT64_MAX, "value of key tokenizer.ggml.tokens"},
    {"tokenizer.ggml.tokens:count", 8, (uint64_t)1 << 61, "value of key tokenizer.ggml.tokens"},
    {"tokenizer.ggml.tokens:count", 8, VOCAB - 1, "value of key lo: expected a type number below 13"},
    {"tokenizer.ggml.tokens:first", 8, (uint64_t)1 << 63, "value of key tokenizer.ggml.tokens"},
    {"tokenizer.ggml.token_type:element", 4, SF_GGUF_F32, "key tokenizer.ggml.token_type: expected an array of 259"},
    {"tokenizer.ggml.token_type:count", 8, (uint64_t)1 << 62, "value of key tokenizer.ggml.token_type"},
    {"tokenizer.ggml.merges:count", 8, 0, "name of a key"},
    {"tokenizer.ggml.bos_token_id:value", 4, VOCAB, "key tokenizer.ggml.bos_token_id: expected 0 to 258, found 259"},
    {"tokenizer.ggml.eos_token_id:value", 4, UINT32_MAX,
     "key tokenizer.ggml.eos_token_id: expected 0 to 258, found 4294967295"},
    {"tokenizer.ggml.add_bos_token:value", 1, 2,
     "value of key tokenizer.ggml.add_bos_token: expected a bool, 0 or 1, found 2"},
    {"tokenizer.ggml.add_bos_token:type", 4, SF_GGUF_U8,
     "key tokenizer.ggml.add_bos_token: expected a bool, found type u8"},
    {"token_embd.weight:name", 8, 0, "name of a tensor"},
    {"token_embd.weight:name", 8, 65, "name of a tensor"},
    {"token_embd.weight:rank", 4, 0, "tensor token_embd.weight: expected 1 to 4 dimensions, found 0"},
    {"token_embd.weight:rank", 4, 5, "tensor token_embd.weight: expected 1 to 4 dimensions, found 5"},
    {"token_embd.weight:rank", 4, UINT32_MAX, "expected 1 to 4 dimensions"},
    {"token_embd.weight:dim0", 8, 0, "tensor token_embd.weight: expected dimensions of 1 to 2^56 elements"},
    {"token_embd.weight:dim0", 8, 31, "tensor token_embd.weight: expected rows of a multiple of 32 elements"},
    {"token_embd.weight:dim0", 8, (uint64_t)1 << 63,
     "tensor token_embd.weight: expected dimensions of 1 to 2^56 elements"},
    {"token_embd.weight:dim0", 8, 64, "tensor output_norm.weight: expected to start at byte 17664"},
    {"token_embd.weight:dim1", 8, (uint64_t)1 << 60,
     "tensor token_embd.weight: expected dimensions of 1 to 2^56 elements"},
    {"token_embd.weight:dim1", 8, (uint64_t)1 << 52,
     "tensor token_embd.weight: expected dimensions of 1 to 2^56 elements"},
    {"token_embd.weight:dim1", 8, (uint64_t)1 << 50,
     "tensor token_embd.weight: expected 38280596832649216 bytes at byte 0"},
    {"token_embd.weight:dim1", 8, VOCAB - 1,
     "tensor token_embd.weight: expected a row for each of 259 tokens, found [258, 32]"},
    {"token_embd.weight:type", 4, 9, "tensor token_embd.weight: expected one of F32"},
    {"token_embd.weight:type", 4, 9, "found type 9 (Q8_1)"},
    {"token_embd.weight:type", 4, 4, "found type 4 (unknown)"},
    {"token_embd.weight:type", 4, UINT32_MAX, "found type 4294967295 (unknown)"},
    {"token_embd.weight:offset", 8, 1,
     "tensor token_embd.weight: expected an offset that is a multiple of 64, found 1"},
    {"token_embd.weight:offset", 8, (uint64_t)1 << 63,
     "tensor token_embd.weight: expected 8806 bytes at byte 9223372036854775808"},
    {"token_embd.weight:offset", 8, UINT64_MAX - 63, "is it complete?"},
    {"token_embd.weight:offset", 8, 64,
     "tensor token_embd.weight: expected to start at byte 0 of the data, as the first, found 64"},
    {"blk.0.ffn_norm.weight:type", 4, Q8_0, "tensor blk.0.ffn_norm.weight: expected F32, F16 or BF16"},
    {"blk.0.ffn_norm.weight:dim0", 8, 16, "tensor blk.0.ffn_norm.weight: expected shape [32], found [16]"},
    {"blk.0.attn_q.weight:dim1", 8, 31, "tensor blk.0.attn_q.weight: expected shape [32, 32], found [31, 32]"},
    /* A type or shape of fewer bytes leaves a gap. */
    {"blk.0.attn_q.weight:dim1", 8, 16, "tensor blk.0.attn_k.weight: expected to start at byte "},
    {"blk.1.ffn_up.weight:type", 4, F16, "behind blk.1.ffn_up.weight, found "},
    {"blk.0.ffn_down.weight:dim0", 8, 128, "tensor blk.0.ffn_down.weight: expected rows of a multiple of 256 elements"},
};
enum { N_SPOILED = sizeof SPOILED / sizeof *SPOILED };

static void spoiled_fields(void **state)
{
    (void)state;
    file f = write_file(NULL);
    for (int i = 0; i < N_SPOILED; i++) {
        const struct spoiled *s = &SPOILED[i];
        unsigned char kept[8], *at = f.data + find_mark(&f, s->field);
        memcpy(kept, at, 8);
        memcpy(at, &s->value, (size_t)s->width);
        save(&f);
        expect_error(s->field, s->expected);
        memcpy(at, kept, 8);
    }
    sf_model_close(open_good(&f));
    free(f.data);
}

/* Letters changed in names and texts. */
static void spoiled_names(void **state)
{
    (void)state;
    static const struct { const char *field; int letter; char to; const char *expected; } rows[] = {
        {"general.architecture:value", 0, 'x',
     "key general.architecture: expected one of llama, qwen2, qwen3, "},
        {"general.architecture:value", 1, '\0', "key general.architecture: expected text, found a NUL byte in it"},
        {"general.architecture:name", 8, 'x', "key general.architecture: expected, not found"},
        {"general.architecture:name", 3, '\n',
     "name of a key at byte 24: expected 1 to 65535 visible ASCII characters, found others"},
        {"llama.block_count:name", 6, 'x', "key llama.block_count: expected, not found"},
        {"llama.embedding_length:name", 6, 'x', "key llama.embedding_length: expected, not found"},
        {"llama.feed_forward_length:name", 6, 'x', "key llama.feed_forward_length: expected, not found"},
        {"llama.attention.head_count:name", 6, 'x', "key llama.attention.head_count: expected, not found"},
        {"llama.attention.layer_norm_rms_epsilon:name", 6, 'x', "layer_norm_rms_epsilon: expected, not found"},
        {"tokenizer.ggml.model:name", 0, 'x', "key tokenizer.ggml.model: expected, not found"},
        {"tokenizer.ggml.model:value", 0, 'x', "tokenizer"},
        {"tokenizer.ggml.pre:value", 0, 'x', "xmollm"},
        {"tokenizer.ggml.tokens:name", 0, 'x', "key tokenizer.ggml.tokens: expected, not found"},
        {"tokenizer.ggml.merges:first", 1, 'x', "merge"},
        {"tokenizer.ggml.merges:first", 0, 'q', "merge"},
        {"token_embd.weight:name", 0, 'x', "tensor token_embd.weight: expected, not found"},
        {"blk.0.attn_q.weight:name", 4, '1', "tensor blk.1.attn_q.weight: expected once, found twice"},
        {"blk.0.attn_q.weight:name", 10, 'z', "tensor blk.0.attn_q.weight: expected shape [32, 32], not found"},
        {"blk.1.ffn_norm.weight:name", 2, ' ', "name of a tensor"},
    };
    file f = write_file(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *at = (char *)f.data + find_mark(&f, rows[i].field) + 8 + rows[i].letter, kept = *at;
        *at = rows[i].to;
        save(&f);
        expect_error(rows[i].field, rows[i].expected);
        *at = kept;
    }
    free(f.data);
}

static void twice(file *f) { key_u32(f, "general.alignment", 64); }

static void spoiled_wholes(void **state)
{
    (void)state;
    static const float ones[64];
    static const tensor_row bias = {"blk.0.attn_q.bias", F32, D, 0}, stacked = {"blk.0.ffn_gate_inp.weight", F32, 2, D};
    const struct { const char *what; extras x; const char *expected; } rows[] = {
        {"key twice", {.keys = twice}, "key general.alignment: expected once, found twice"},
        {"scaling", {.keys = unknown_scaling},
     "key llama.rope.scaling.type: expected none, linear or yarn, found \"longrope\""},
        {"split", {.keys = split}, "this is part 2 of a split GGUF of 3 parts; name the first"},
        {"experts", {.keys = experts}, "key llama.expert_used_count: expected, not found"},
        {"values", {.keys = wide_values},
     "key llama.attention.value_length: expected the length of keys, 16, found 32"},
        {"nested array", {.keys = array_of_arrays}, "key custom.nested: expected an array of scalars or strings"},
        {"bias", {.tensor = &bias, .data = ones},
     "tensor blk.0.attn_k.bias: expected shape [16], not found"},
        {"router", {.tensor = &stacked, .data = ones}, "tensor blk.0.ffn_gate_inp.weight: expected none of this name"},
        {"no bias", {.architecture = "qwen2"}, "tensor blk.0.attn_q.bias: expected shape [32], not found"},
        {"no norm", {.architecture = "qwen3"}, "tensor blk.0.attn_q_norm.weight: expected shape [16], not found"},
        {"gemma", {.architecture = "gemma3"},
     "key gemma3.attention.sliding_window: expected, not found"},
        {"gpt", {.architecture = "gpt2"}, "found \"gpt2\"; its Hugging Face folder cannot be read either"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        file f = write_file(&rows[i].x);
        save(&f);
        expect_error(rows[i].what, rows[i].expected);
        free(f.data);
    }
}

/* Cut short anywhere: a message, no read beyond the end. Memory of the very size, so that a sanitizer sees one. */
static void truncated(void **state)
{
    (void)state;
    file f = write_file(NULL);
    for (size_t n = 0; n < f.bytes; n += n < f.data_start ? 1 : 509) {
        unsigned char *copy = malloc(n ? n : 1);
        memcpy(copy, f.data, n);
        sf_gguf g;
        assert_int_not_equal(sf_gguf_read("cut.gguf", (sf_mapping){copy, n}, &g), SF_OK);
        assert_non_null(strstr(sf_error(), "cut.gguf: "));
        free(copy);
    }
    free(f.data);
}

/* Bits flipped at random: opened or refused, never a crash. */
static void flipped(void **state)
{
    (void)state;
    file f = write_file(NULL);
    unsigned char *good = malloc(f.data_start);
    memcpy(good, f.data, f.data_start);
    uint64_t seed = 88172645463325252u;
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(f.data, good, f.data_start);
        for (int k = 0; k <= i % 3; k++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift */
            f.data[seed % f.data_start] ^= (unsigned char)(1 << (seed >> 40) % 8);
        }
        sf_gguf g;
        if (sf_gguf_read("flip.gguf", (sf_mapping){f.data, f.bytes}, &g) != SF_OK) refused++;
        sf_gguf_free(&g);
        if (i % 40 == 0) { /* and through to the tokenizer */
            save(&f);
            sf_model *m;
            if (sf_model_open(path, &m) == SF_OK) sf_model_close(m);
        }
    }
    assert_true(refused > 1000);
    free(good);
    free(f.data);
}

static void wrong_files(void **state)
{
    (void)state;
    sf_model *m;
    static const struct {
        const char *path, *expected;
    } rows[] = {
        {"/nonexistent/x.gguf", "/nonexistent/x.gguf: cannot be opened: No such file"},
        {"/dev/null", "/dev/null: expected a regular file"},
        {"tests", "tests: expected config.json (a Hugging Face folder) or one .gguf file in it, found neither"},
        {"tests/golden/model/qwen2/model.safetensors", "name its folder"},
        {"tests/test_gguf.c", "tests/test_gguf.c: expected a GGUF file"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_not_equal(sf_model_open(rows[i].path, &m), SF_OK);
        if (!strstr(sf_error(), rows[i].expected)) fail_msg("expected \"%s\" in: %s", rows[i].expected, sf_error());
    }
    file empty = {.data = (unsigned char *)"", .bytes = 0};
    save(&empty);
    expect_error("empty", "the file is empty");
    sf_mapping mapping;
    assert_int_equal(sf_map_file(folder, &mapping), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "expected a file, found a directory"));
    file f = write_file(NULL);
    save(&f);
    free(f.data);
    if (geteuid() != 0) { /* root reads everything */
        assert_int_equal(chmod(path, 0), 0);
        expect_error("unreadable", "Permission denied");
        assert_int_equal(chmod(path, 0600), 0);
    }
    char other[128];
    snprintf(other, sizeof other, "%s/other.gguf", folder);
    assert_int_equal(link(path, other), 0);
    assert_int_equal(sf_model_open(folder, &m), SF_BAD_INPUT);
    assert_non_null(strstr(sf_error(), "found several .gguf files"));
    unlink(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),          cmocka_unit_test(hashes),         cmocka_unit_test(optional_keys),
        cmocka_unit_test(absent_keys),    cmocka_unit_test(absent_keys),    cmocka_unit_test(no_template),
        cmocka_unit_test(rope_table),     cmocka_unit_test(spoiled_fields), cmocka_unit_test(spoiled_names),
        cmocka_unit_test(spoiled_wholes), cmocka_unit_test(truncated),      cmocka_unit_test(flipped),
        cmocka_unit_test(wrong_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
