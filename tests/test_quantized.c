/* Quantised Hugging Face checkpoints against what their own libraries make of them, number by number (make_quantized.py); what is
 * not read is refused by name. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"

#include "harness/model/hf.h"
#include "harness/model/model.h"
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#define ROOT "tests/golden/model"

static void link_into(const char *folder, const char *from, const char *name)
{
    char here[4096], whole[5000], path[300];
    if (!getcwd(here, sizeof here)) fail_msg("no working directory");
    snprintf(whole, sizeof whole, "%s/" ROOT "/%s", here, from);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (symlink(whole, path) != 0) fail_msg("no link %s", path);
}

/* *state is the folder's name. */
static void as_its_reference(void **state)
{
    const char *name = *state;
    char folder[64], plain[64], from[128];
    assert_int_equal(folder_make(folder), 0);
    assert_int_equal(folder_make(plain), 0);
    snprintf(from, sizeof from, "quantized/%s/config.json", name), link_into(folder, from, "config.json");
    snprintf(from, sizeof from, "quantized/%s/model.safetensors", name), link_into(folder, from, "model.safetensors");
    snprintf(from, sizeof from, "quantized/%s/plain.safetensors", name), link_into(plain, from, "model.safetensors");
    link_into(folder, "granite/tokenizer.json", "tokenizer.json");
    link_into(folder, "granite/tokenizer_config.json", "tokenizer_config.json");

    sf_model *model;
    sf_safetensors expected;
    OK(sf_model_open(folder, &model));
    OK(sf_safetensors_open(plain, &expected));
    sf_weight_slot *slot = calloc((size_t)sf_weight_slots_most(&model->config), sizeof *slot);
    sf_weights weights = model->weights;
    int slots = sf_weight_slots(&model->config, &weights, slot);
    for (int i = 0; i < slots; i++) {
        char whole[160];
        snprintf(whole, sizeof whole, "model.%s", slot[i].hf);
        sf_st_tensor *t = sf_safetensors_find(&expected, whole);
        if (!t) continue;
        const sf_tensor *ours = slot[i].at;
        sf_tensor right; /* of a tensor that several share, this one's rows */
        OK(sf_weight_part(&slot[i], slot[i].of_hf, &t->tensor, plain, whole, &right));
        if (ours->dtype != t->tensor.dtype) fail_msg("%s: %s, expected %s", whole, sf_dtypes[ours->dtype].name, t->type);
        for (int64_t k = 0; k < sf_elements(ours); k++) {
            float a, b;
            sf_to_f32(ours->dtype, (const char *)ours->data + 2 * k, &a, 1);
            sf_to_f32(ours->dtype, (const char *)right.data + 2 * k, &b, 1);
            if (a != b) fail_msg("%s: %s: element %lld is %.9g, expected %.9g", name, whole, (long long)k, (double)a, (double)b);
        }
        t->used = true;
    }
    for (int i = 0; i < expected.tensors; i++)
        if (!expected.tensor[i].used) fail_msg("%s: %s: not compared", name, expected.tensor[i].name);
    free(slot);
    sf_safetensors_free(&expected);
    sf_model_close(model);
    folder_remove(folder);
    folder_remove(plain);
}

static sf_status config_says(const char *quantization, sf_doubts *doubts)
{
    static const char SHAPE[] = "{\"model_type\": \"llama\", \"hidden_size\": 16, \"intermediate_size\": 24, \"num_hidden_layers\": 1,"
                                "\"num_attention_heads\": 2, \"vocab_size\": 320, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-6}";
    json_error_t error;
    json_t *config = json_loads(SHAPE, 0, NULL), *value = json_loads(quantization, 0, &error);
    if (!value) fail_msg("%s: %s", quantization, error.text);
    json_object_set_new(config, "quantization_config", value);
    sf_model_config c = {0};
    bool multimodal;
    sf_status status = sf_hf_config(config, "config.json", &c, &multimodal, doubts);
    json_decref(config);
    return status;
}

static void refusals(void **state)
{
    (void)state;
#define CT(weights) "{\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"group_0\": {\"weights\": " weights "}}}"
    static const struct { const char *config, *words; } rows[] = {
        {"{\"bits\": 4}", "quantization_config.quant_method: expected"},
        {"{\"quant_method\": \"bitsandbytes\"}", "expected fp8, compressed-tensors, awq or gptq"},
        {"{\"quant_method\": \"mxfp4\"}", "found \"mxfp4\""},
        {"{\"quant_method\": \"fp8\", \"fmt\": \"e5m2\"}", "quantization_config.fmt: expected e4m3"},
        {"{\"quant_method\": \"fp8\", \"weight_block_size\": [128]}", "weight_block_size: expected two sizes"},
        {"{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 0]}", "weight_block_size: expected two sizes"},
        {CT("{\"num_bits\": 3, \"type\": \"int\"}"), "group_0.weights.num_bits: expected 4 or 8"},
        {CT("{\"num_bits\": 4, \"type\": \"float\"}"), "group_0.weights.num_bits: expected 4 or 8"},
        {"{\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"a\": {\"weights\": {\"num_bits\": 4}}, \"b\": {\"weights\":"
         " {\"num_bits\": 8}}}}", "b.weights.num_bits: expected the same in all groups"},
        {"{\"quant_method\": \"compressed-tensors\", \"config_groups\": {}, \"sparsity_config\": {\"format\": \"sparse-24-bitmask\"}}",
         "sparsity_config: expected dense weights"},
        {"{\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": 128, \"version\": \"gemv\"}", "version: expected gemm"},
        {"{\"quant_method\": \"awq\", \"bits\": 8, \"group_size\": 128}", "bits: expected 4"},
        {"{\"quant_method\": \"gptq\", \"bits\": 3, \"group_size\": 128}", "bits: expected 4 or 8"},
        {"{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128, \"checkpoint_format\": \"marlin\"}", "checkpoint_format: expected gptq"},
        {"{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128, \"dynamic\": {\"-:lm_head\": {}}}", "dynamic: expected none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sf_doubts doubts = {0};
        assert_error(config_says(rows[i].config, &doubts), rows[i].words);
    }
    sf_doubts doubts = {0};
    OK(config_says("{\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}", &doubts));
    assert_int_equal(doubts.n, 1);
    assert_non_null(strstr(doubts.text[0], "servers quantise activations too"));
}

/* A copy of a checkpoint of one folder, with some bytes of one tensor set, is refused in these words. */
static void damaged(void **state)
{
    (void)state;
    static const struct { const char *folder, *tensor, *words; int at, byte; const char *edit[2]; } rows[] = {
        {"gptq", "mlp.up_proj.qzeros", "readers agree", 0, 0xff, {0}}, /* a zero point of 16 */
        {"gptq-act", "mlp.up_proj.g_idx", "expected groups below 2, found 9", 4, 9, {0}},
        {"ct-int4-group", "mlp.up_proj.weight_shape", "as many words as weight_shape and num_bits say", 8, 99, {0}},
        {"ct-int4-group", "mlp.up_proj.weight_scale", "scales beside the quantised weight", -1, 0, {"up_proj.weight_scale", "up_proj.weight_extra"}},
        {"awq", "mlp.up_proj.qzeros", "up_proj.qzeros: expected, not found", -1, 0, {"up_proj.qzeros", "up_proj.azeros"}},
        {"fp8", "mlp.up_proj.weight_scale_inv", "scales in F32, F16 or BF16", -1, 0, {"\"F32\",\"shape\":[3,2]", "\"U32\",\"shape\":[3,2]"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char folder[64], path[300], from[200], *data;
        size_t bytes;
        assert_int_equal(folder_make(folder), 0);
        snprintf(from, sizeof from, "quantized/%s/config.json", rows[i].folder), link_into(folder, from, "config.json");
        link_into(folder, "granite/tokenizer.json", "tokenizer.json");
        snprintf(from, sizeof from, ROOT "/quantized/%s/model.safetensors", rows[i].folder);
        data = file_read(from, &bytes);
        uint64_t header;
        memcpy(&header, data, sizeof header);
        char *entry = memmem(data, header + 8, rows[i].tensor, strlen(rows[i].tensor)), *offsets = entry ? strstr(entry, "data_offsets\":[") : NULL;
        if (!offsets) fail_msg("%s: no tensor %s", from, rows[i].tensor);
        if (rows[i].at >= 0) data[8 + header + strtoull(offsets + 15, NULL, 10) + (size_t)rows[i].at] = (char)rows[i].byte;
        char *edited = rows[i].edit[0] ? memmem(entry, 200, rows[i].edit[0], strlen(rows[i].edit[0])) : NULL;
        if (rows[i].edit[0] && !edited) fail_msg("%s: no %s", rows[i].folder, rows[i].edit[0]);
        if (edited) memcpy(edited, rows[i].edit[1], strlen(rows[i].edit[1]));
        snprintf(path, sizeof path, "%s/model.safetensors", folder);
        file_write(path, data, bytes);
        sf_model *model;
        assert_error(sf_model_open(folder, &model), rows[i].words);
        free(data);
        folder_remove(folder);
    }
}

int main(void)
{
    enum { MOST = 32 };
    static const char ABOVE[] = ROOT "/quantized/", END[] = "/plain.safetensors";
    struct CMUnitTest tests[MOST] = {cmocka_unit_test(refusals), cmocka_unit_test(damaged)};
    size_t n = 2;
    glob_t found;
    if (glob(ROOT "/quantized/*/plain.safetensors", 0, NULL, &found) != 0 || n + found.gl_pathc > MOST) return 1;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *name = found.gl_pathv[i] + strlen(ABOVE);
        name[strlen(name) - strlen(END)] = '\0';
        tests[n++] = (struct CMUnitTest){.name = name, .test_func = as_its_reference, .initial_state = name};
    }
    int failed = _cmocka_run_group_tests("quantized", tests, n, NULL, NULL);
    globfree(&found);
    return failed;
}
