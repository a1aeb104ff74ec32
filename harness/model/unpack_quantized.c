/* Quantised Hugging Face checkpoints. Where a reference computes in a half precision, so does this: a difference of whole numbers is
 * exact there, and so is its product with a scale before it is rounded once, to the dtype of the scales.
 *
 *     FP8           DeepSeek V3 (2412.19437, inference/kernel.py: weight_dequant); transformers: integrations/finegrained_fp8.py
 *     compressed    compressed-tensors 0.20: compressors/pack_quantized, naive_quantized
 *     AWQ           AutoAWQ 0.2.9: awq/utils/packing_utils.py, of "gemm"
 *     GPTQ          AutoGPTQ 0.7: nn_modules/qlinear/qlinear_cuda_old.py; GPTQModel: nn_modules/qlinear/torch.py */
#include "harness/model/unpack.h"
#include "harness/model/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- config.json --------------------------------------------------------------------------------------------------------- */

static sf_status read_fp8(sf_json_at at, sf_quantization *q, sf_doubts *doubts)
{
    const char *form = "e4m3", *scales = NULL, *activations = "dynamic";
    const json_t *block = sf_json_value(at, "weight_block_size");
    SF_TRY(sf_json_text(at, "fmt", false, &form));
    SF_TRY(sf_json_text(at, "scale_fmt", false, &scales)); /* powers of two, stored as numbers */
    SF_TRY(sf_json_text(at, "activation_scheme", false, &activations));
    if (strcmp(form, "e4m3") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "fmt", "e4m3");
    for (size_t i = 0; block && i < 2; i++) {
        const json_t *size = json_array_get(block, i);
        int64_t n = json_is_integer(size) ? json_integer_value(size) : 0;
        if (json_array_size(block) != 2 || n < 1 || n > 1 << 20)
            return sf_json_fail(SF_BAD_INPUT, at, "weight_block_size", "two sizes, rows and columns");
        q->block[i] = (int)n;
    }
    sf_doubt(doubts, "%s: %sactivation_scheme: servers quantise activations too (%s); here they stay as they are, as where transformers"
                     " is told to dequantize", at.path, at.above, activations);
    return SF_OK;
}

/* One of config_groups: whole numbers of the same size in all. */
static sf_status read_group(sf_json_at at, sf_quantization *q, bool *activations)
{
    const json_t *weights = NULL;
    const char *type = "int";
    int64_t bits = 8;
    SF_TRY(sf_json_object(at, "weights", true, &weights));
    char above[128];
    snprintf(above, sizeof above, "%sweights.", at.above);
    sf_json_at w = {weights, at.path, above};
    SF_TRY(sf_json_text(w, "type", false, &type));
    SF_TRY(sf_json_int(w, "num_bits", true, 1, 64, &bits));
    *activations |= sf_json_value(at, "input_activations") || sf_json_value(at, "output_activations");
    if (strcmp(type, "float") == 0 ? bits != 8 : bits != 4 && bits != 8)
        return sf_json_fail(SF_UNSUPPORTED, w, "num_bits", "4 or 8 of whole numbers, 8 of floats");
    if (strcmp(type, "float") == 0) return SF_OK;
    if (q->bits && q->bits != bits) return sf_json_fail(SF_UNSUPPORTED, w, "num_bits", "the same in all groups");
    q->bits = (int)bits;
    return SF_OK;
}

static sf_status read_compressed(sf_json_at at, sf_quantization *q, sf_doubts *doubts)
{
    const json_t *groups = NULL, *sparsity = NULL, *group;
    const char *name, *sparse = "dense";
    bool activations = false;
    SF_TRY(sf_json_object(at, "config_groups", true, &groups));
    SF_TRY(sf_json_object(at, "sparsity_config", false, &sparsity));
    if (sparsity) SF_TRY(sf_json_text((sf_json_at){sparsity, at.path, "quantization_config.sparsity_config."}, "format", false, &sparse));
    if (strcmp(sparse, "dense") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "sparsity_config", "dense weights");
    json_object_foreach((json_t *)groups, name, group)
    {
        char above[96];
        snprintf(above, sizeof above, "%sconfig_groups.%.32s.", at.above, name);
        if (!json_is_object(group)) return sf_json_fail(SF_BAD_INPUT, (sf_json_at){groups, at.path, at.above}, name, "an object");
        SF_TRY(read_group((sf_json_at){group, at.path, above}, q, &activations));
    }
    if (activations)
        sf_doubt(doubts, "%s: %sconfig_groups: servers quantise activations too; here they stay as they are", at.path, at.above);
    if (sf_json_value(at, "kv_cache_scheme"))
        sf_doubt(doubts, "%s: %skv_cache_scheme: servers quantise keys and values too; here they stay as they are", at.path, at.above);
    return SF_OK;
}

/* bits and group_size of AWQ and GPTQ, whose files say so alike. */
static sf_status read_grouped(sf_json_at at, sf_quantization *q)
{
    int64_t bits = 4, group = 128;
    SF_TRY(sf_json_int(at, sf_json_value(at, "w_bit") ? "w_bit" : "bits", true, 1, 64, &bits));
    SF_TRY(sf_json_int(at, sf_json_value(at, "q_group_size") ? "q_group_size" : "group_size", true, -1, 1 << 24, &group));
    q->bits = (int)bits;
    q->group = group > 0 ? (int)group : 0;
    return SF_OK;
}

static sf_status read_awq(sf_json_at at, sf_quantization *q, sf_doubts *doubts)
{
    (void)doubts;
    const char *version = "gemm";
    bool zero_point = true;
    SF_TRY(read_grouped(at, q));
    SF_TRY(sf_json_text(at, "version", false, &version));
    SF_TRY(sf_json_bool(at, "zero_point", false, &zero_point));
    if (q->bits != 4) return sf_json_fail(SF_UNSUPPORTED, at, "bits", "4");
    if (strcasecmp(version, "gemm") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "version", "gemm, the layout that files are published in");
    if (!zero_point) return sf_json_fail(SF_UNSUPPORTED, at, "zero_point", "true");
    return SF_OK;
}

static sf_status read_gptq(sf_json_at at, sf_quantization *q, sf_doubts *doubts)
{
    (void)doubts;
    const char *format = "gptq";
    const json_t *dynamic = sf_json_value(at, "dynamic");
    SF_TRY(read_grouped(at, q));
    SF_TRY(sf_json_text(at, "checkpoint_format", false, &format));
    q->less_one = strcmp(format, "gptq") == 0;
    if (q->bits != 4 && q->bits != 8) return sf_json_fail(SF_UNSUPPORTED, at, "bits", "4 or 8");
    if (!q->less_one && strcmp(format, "gptq_v2") != 0) return sf_json_fail(SF_UNSUPPORTED, at, "checkpoint_format", "gptq or gptq_v2");
    if (dynamic && json_object_size(dynamic)) return sf_json_fail(SF_UNSUPPORTED, at, "dynamic", "none: the same bits in all layers");
    return SF_OK;
}

static const struct {
    const char *name;
    sf_quantized kind;
    sf_status (*read)(sf_json_at at, sf_quantization *q, sf_doubts *doubts);
} METHODS[] = {
    {"fp8", SF_QUANT_FP8, read_fp8},
    {"compressed-tensors", SF_QUANT_COMPRESSED, read_compressed},
    {"awq", SF_QUANT_AWQ, read_awq},
    {"gptq", SF_QUANT_GPTQ, read_gptq},
};

sf_status sf_quantization_read(sf_json_at at, const char *packed, sf_quantization *out, sf_doubts *doubts)
{
    static const char KEY[] = "quantization_config";
    const json_t *config = NULL;
    const char *method = NULL;
    *out = (sf_quantization){0};
    SF_TRY(sf_json_object(at, KEY, false, &config));
    if (!config) return SF_OK;
    char above[96];
    snprintf(above, sizeof above, "%s%s.", at.above, KEY);
    sf_json_at inside = {config, at.path, above};
    SF_TRY(sf_json_text(inside, "quant_method", true, &method));
    if (packed && strcmp(method, packed) == 0) return SF_OK;
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++) {
        if (strcmp(METHODS[i].name, method) != 0) continue;
        out->kind = METHODS[i].kind;
        return METHODS[i].read(inside, out, doubts);
    }
    return sf_json_fail(SF_UNSUPPORTED, inside, "quant_method", "fp8, compressed-tensors, awq or gptq; another is to be dequantised by its"
                                                                 " own library and saved as bfloat16");
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */

static float from_e4m3(uint8_t x)
{
    int exponent = x >> 3 & 15, mantissa = x & 7;
    uint32_t bits = (uint32_t)(exponent + 120) << 23 | (uint32_t)mantissa << 20;
    float value = (float)mantissa * 0x1p-9f;
    if (exponent) memcpy(&value, &bits, sizeof value);
    if (exponent == 15 && mantissa == 7) value = NAN;
    return x >> 7 ? -value : value;
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t to_f16(float x)
{
    uint32_t bits, sign;
    memcpy(&bits, &x, sizeof bits);
    sign = bits >> 16 & 0x8000, bits &= 0x7fffffff;
    if (bits >= 0x47800000) return (uint16_t)(sign | (bits > 0x7f800000 ? 0x7e00 : 0x7c00));
    if (bits < 0x38800000) return (uint16_t)(sign | (uint32_t)rintf(fabsf(x) * 0x1p24f)); /* in steps of the smallest */
    return (uint16_t)(sign | (bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13);
}

static void put(const sf_unpack_item *i, int64_t at, float value)
{
    ((uint16_t *)i->to.data)[at] = i->to.dtype == SF_F16 ? to_f16(value) : to_bf16(value);
}

static float number(const sf_st_tensor *t, int64_t at)
{
    float x;
    sf_to_f32(t->tensor.dtype, (const char *)t->tensor.data + sf_bytes(t->tensor.dtype, at), &x, 1);
    return x;
}

/* Number `at` of those packed into words, lowest bits first; data are aligned to words. */
static int packed(const sf_st_tensor *t, int64_t at, int bits)
{
    int each = 32 / bits;
    return (int)(((const uint32_t *)t->tensor.data)[at / each] >> at % each * bits & ((1u << bits) - 1));
}

/* ---- one matrix ---------------------------------------------------------------------------------------------------------- */

/* FP8 and compressed: rows of floats, of bytes, or of words (numbers less half their range), less a zero point, if any, times a
 * scale; a block has one of each. */
static void from_rows(const sf_unpack_item *i)
{
    const sf_st_tensor *from = i->from[0], *scale = i->from[1], *zero = i->from[2];
    const int bits = i->how.bits, each = bits ? 32 / bits : 1, half = bits ? 1 << (bits - 1) : 0;
    const bool words = strcmp(from->type, "I32") == 0, floats = strcmp(from->type, "F8_E4M3") == 0;
    int64_t rows = i->to.dim[0], columns = i->to.dim[1], pitch = words ? from->tensor.dim[1] * each : columns;
    int64_t block = i->how.block[1], groups = (columns + block - 1) / block;
    for (int64_t r = 0; r < rows; r++) {
        int64_t shared = r / i->how.block[0], before = -1;
        float by = 0, less = 0;
        for (int64_t c = 0; c < columns; c++) {
            int64_t group = c / block, at = shared * groups + group;
            if (at != before) {
                by = number(scale, at), before = at;
                if (zero && words) /* packed down a column */
                    less = (float)(packed(zero, (shared / each * groups + group) * each + shared % each, bits) - half);
                else if (zero) less = (float)((const int8_t *)zero->tensor.data)[at];
            }
            int64_t k = r * pitch + c;
            float x = floats  ? from_e4m3(((const uint8_t *)from->tensor.data)[k])
                      : words ? (float)(packed(from, k, bits) - half)
                              : (float)((const int8_t *)from->tensor.data)[k];
            put(i, r * columns + c, (x - less) * by);
        }
    }
}

/* AWQ: [in, out], eight neighbours to a word in this order. */
static void from_awq(const sf_unpack_item *i)
{
    static const int ORDER[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    int64_t out = i->to.dim[0], in = i->to.dim[1];
    for (int64_t o = 0; o < out; o++) {
        int64_t at = o / 8 * 8 + ORDER[o % 8];
        for (int64_t c = 0; c < in; c++) {
            int64_t group = c / i->how.group;
            int x = packed(i->from[0], c * out + at, 4) - packed(i->from[1], group * out + at, 4);
            put(i, o * in + c, (float)x * number(i->from[2], group * out + o));
        }
    }
}

/* GPTQ: [in, out], neighbours down a column to a word, zero points along rows. */
static void from_gptq(const sf_unpack_item *i)
{
    const int bits = i->how.bits, each = 32 / bits;
    int64_t out = i->to.dim[0], in = i->to.dim[1];
    for (int64_t o = 0; o < out; o++) {
        for (int64_t c = 0; c < in; c++) {
            int64_t group = i->from[3] ? ((const int32_t *)i->from[3]->tensor.data)[c] : c / i->how.group;
            int x = packed(i->from[0], (c / each * out + o) * each + c % each, bits);
            int zero = packed(i->from[1], group * out + o, bits) + i->how.less_one;
            put(i, o * in + c, (float)(x - zero) * number(i->from[2], group * out + o));
        }
    }
}

/* ---- what stands in the files -------------------------------------------------------------------------------------------- */

/* A tensor beside another: "…q_proj." and "qweight". NULL: there is none. */
static sf_st_tensor *beside(sf_safetensors *s, const char *module, const char *name)
{
    char whole[320];
    snprintf(whole, sizeof whole, "%s%s", module, name);
    return sf_safetensors_find(s, whole);
}

static sf_status wrong(const sf_st_tensor *t, const char *expected)
{
    return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected %s, found %s of %s", t->file, t->name, expected, t->type,
                   t->tensor.rank < 0 ? "more than 4 dimensions" : sf_shape_text(t->tensor.rank, t->tensor.dim));
}

/* Scales are numbers in F32, F16 or BF16, of one dtype with what is made, but for F32. */
static sf_status take_scales(sf_st_tensor *scale, const char *where, const char *module, sf_unpack_item *i)
{
    if (!scale) return sf_fail(SF_BAD_INPUT, "%s: tensors of %.200s: expected scales beside the quantised weight, not found", where, module);
    if (!scale->readable) return wrong(scale, "scales in F32, F16 or BF16");
    scale->used = true;
    i->to.dtype = scale->tensor.dtype == SF_F32 ? SF_BF16 : scale->tensor.dtype;
    return SF_OK;
}

static bool shaped(const sf_st_tensor *t, const char *type, int64_t rows, int64_t columns)
{
    return strcmp(t->type, type) == 0 && t->tensor.rank == 2 && t->tensor.dim[0] == rows && t->tensor.dim[1] == columns;
}

/* Indices of groups, one a column. */
static sf_status take_places(sf_st_tensor *place, int64_t columns, int64_t groups, sf_unpack_item *i)
{
    if (!place) return SF_OK;
    if (strcmp(place->type, "I32") != 0 || place->tensor.rank != 1 || place->tensor.dim[0] != columns)
        return wrong(place, "a group for each column");
    for (int64_t c = 0; c < columns; c++) {
        int32_t group = ((const int32_t *)place->tensor.data)[c];
        if (group < 0 || group >= groups)
            return sf_fail(SF_BAD_INPUT, "%s: tensor %s: expected groups below %lld, found %d", place->file, place->name,
                           (long long)groups, group);
    }
    place->used = true;
    i->from[3] = place;
    return SF_OK;
}

/* Rows and columns that share a scale, from a grid of scales: none, one a row, or [rows, groups]. */
static sf_status grid_of(const sf_st_tensor *scale, sf_unpack_item *i)
{
    int64_t rows = i->to.dim[0], columns = i->to.dim[1], grid[2] = {1, 1};
    const sf_tensor *t = &scale->tensor;
    bool fits = t->rank <= 2;
    for (int k = 0; fits && k < t->rank; k++) grid[k] = t->dim[k];
    for (int k = 0; fits && k < 2; k++) {
        int64_t all = k ? columns : rows;
        if (i->how.block[k]) fits = grid[k] == (all + i->how.block[k] - 1) / i->how.block[k];
        else fits = grid[k] > 0 && all % grid[k] == 0, i->how.block[k] = fits ? (int)(all / grid[k]) : 0;
    }
    return fits ? SF_OK : wrong(scale, "scales of equal blocks of the weight");
}

/* A matrix that stands in rows: FP8, or compressed. */
static sf_status plan_rows(sf_unpack *u, const sf_quantization *q, sf_safetensors *s, sf_st_tensor *from, const char *module)
{
    sf_unpack_item i = {.from = {from}, .to = {.rank = 2}, .fill = from_rows, .how = *q};
    bool words = strcmp(from->type, "I32") == 0;
    sf_st_tensor *scale = beside(s, module, "weight_scale_inv"), *zero = beside(s, module, "weight_zero_point"),
                 *shape = beside(s, module, "weight_shape"), *activations = beside(s, module, "input_scale");
    if (!scale) scale = beside(s, module, "weight_scale");
    if (from->tensor.rank != 2 || sf_elements(&from->tensor) == 0) return wrong(from, "a matrix");
    i.to.dim[0] = from->tensor.dim[0], i.to.dim[1] = from->tensor.dim[1];
    if (words) {
        if (!q->bits) return wrong(from, "none, as no group of quantization_config has whole numbers");
        if (!shape || strcmp(shape->type, "I64") != 0 || shape->tensor.rank != 1 || shape->tensor.dim[0] != 2)
            return sf_fail(SF_BAD_INPUT, "%s: tensor %sweight_shape: expected two I64, rows and columns", from->file, module);
        memcpy(i.to.dim, shape->tensor.data, 2 * sizeof *i.to.dim);
        shape->used = true;
        int64_t each = 32 / q->bits, columns = i.to.dim[1];
        if (columns < 1 || columns > 1 << 24 || !shaped(from, "I32", i.to.dim[0], (columns + each - 1) / each))
            return wrong(from, "as many words as weight_shape and num_bits say");
    }
    snprintf(i.name, sizeof i.name, "%.180sweight", module);
    SF_TRY(take_scales(scale, u->folder, module, &i));
    SF_TRY(grid_of(scale, &i));
    int64_t scales = sf_elements(&scale->tensor), groups = scale->tensor.rank == 2 ? scale->tensor.dim[1] : 1;
    if (zero) {
        int64_t lines = scales / groups, each = words ? 32 / q->bits : 1;
        if (words ? !shaped(zero, "I32", (lines + each - 1) / each, groups)
                  : strcmp(zero->type, "I8") != 0 || zero->tensor.rank < 0 || sf_elements(&zero->tensor) != scales)
            return wrong(zero, "a zero point for each scale");
        zero->used = true;
    }
    if (activations) activations->used = true; /* of activations, which stay as they are */
    from->used = true;
    i.from[1] = scale, i.from[2] = zero;
    return sf_unpack_add(u, &i);
}

/* The first format stores zero points less 1, so that 0 would stand as all ones: readers differ in what they make of it. */
static sf_status check_zeros(const sf_st_tensor *zeros, const sf_quantization *q)
{
    int64_t n = sf_elements(&zeros->tensor) * (32 / q->bits);
    for (int64_t k = 0; q->less_one && k < n; k++) {
        if (packed(zeros, k, q->bits) < (1 << q->bits) - 1) continue;
        return sf_fail(SF_UNSUPPORTED, "%s: tensor %s: expected zero points below %d (stored less 1), of which readers agree; found %d: save it"
                                       " as gptq_v2", zeros->file, zeros->name, (1 << q->bits) - 1, (1 << q->bits) - 1);
    }
    return SF_OK;
}

/* Some writers give every layer a bias, of zeros where the model has none. */
static void drop_zeros(sf_st_tensor *bias)
{
    if (!bias) return;
    size_t bytes = bias->end - bias->begin;
    const char *data = bias->tensor.data;
    if (bytes && data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0) bias->used = true;
}

/* A matrix that stands in columns: AWQ, GPTQ. */
static sf_status plan_columns(sf_unpack *u, const sf_quantization *q, sf_safetensors *s, sf_st_tensor *from, const char *module)
{
    bool awq = q->kind == SF_QUANT_AWQ;
    int each = 32 / q->bits;
    sf_unpack_item i = {.from = {from}, .to = {.rank = 2}, .fill = awq ? from_awq : from_gptq, .how = *q};
    sf_st_tensor *zeros = beside(s, module, "qzeros"), *scales = beside(s, module, "scales");
    SF_TRY(take_scales(scales, u->folder, module, &i));
    if (from->tensor.rank != 2 || sf_elements(&from->tensor) == 0 || strcmp(from->type, "I32") != 0)
        return wrong(from, "a matrix of I32");
    if (scales->tensor.rank != 2) return wrong(scales, "a matrix");
    int64_t out = from->tensor.dim[1] * (awq ? each : 1), in = from->tensor.dim[0] * (awq ? 1 : each), groups = scales->tensor.dim[0];
    if (q->group == 0) i.how.group = (int)in;
    if (scales->tensor.dim[1] != out || groups != (in + i.how.group - 1) / i.how.group)
        return wrong(scales, "a row of scales for each group of rows");
    if (out % each != 0 || !zeros || !shaped(zeros, "I32", groups, out / each))
        return zeros ? wrong(zeros, "a zero point for each scale")
                     : sf_fail(SF_BAD_INPUT, "%s: tensor %sqzeros: expected, not found", u->folder, module);
    SF_TRY(check_zeros(zeros, q));
    if (!awq) SF_TRY(take_places(beside(s, module, "g_idx"), in, groups, &i));
    drop_zeros(beside(s, module, "bias"));
    zeros->used = from->used = true;
    i.from[1] = zeros, i.from[2] = scales;
    i.to.dim[0] = out, i.to.dim[1] = in;
    snprintf(i.name, sizeof i.name, "%.180sweight", module);
    return sf_unpack_add(u, &i);
}

/* "…q_proj.qweight" is the qweight of "…q_proj." */
static bool ends(const char *name, const char *leaf, char module[256])
{
    size_t n = strlen(name), m = strlen(leaf);
    if (n < m || n - m > 255 || strcmp(name + n - m, leaf) != 0 || (n > m && name[n - m - 1] != '.')) return false;
    snprintf(module, 256, "%.*s", (int)(n - m), name);
    return true;
}

sf_status sf_unpack_quantized(const sf_quantization *q, sf_safetensors *s, const char *folder)
{
    sf_unpack u = {.folder = folder};
    sf_status status = SF_OK;
    for (int k = 0; status == SF_OK && k < s->tensors; k++) {
        sf_st_tensor *t = &s->tensor[k];
        char module[256];
        if (q->kind == SF_QUANT_AWQ || q->kind == SF_QUANT_GPTQ) {
            if (ends(t->name, "qweight", module)) status = plan_columns(&u, q, s, t, module);
        } else if (ends(t->name, "weight_packed", module)) {
            status = plan_rows(&u, q, s, t, module);
        } else if (ends(t->name, "weight", module) && (strcmp(t->type, "F8_E4M3") == 0 || strcmp(t->type, "I8") == 0)) {
            status = plan_rows(&u, q, s, t, module);
        }
    }
    if (status == SF_OK && !u.items) return SF_OK; /* all is listed as left out */
    return sf_unpack_run(&u, status, s);
}
