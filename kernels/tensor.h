/* What memory holds: element types, tensors, lists of indices, key–value caches.
 *
 * Dimension letters, the same everywhere:
 *   T rows (tokens) of the current pass      N keys visible to the last query
 *   H query heads   G kv heads   D head dim  d model dim   group = H / G query heads share one kv head
 * Query head h reads kv head h / group. All tensors are row-major and contiguous. */
#ifndef SF_TENSOR_H
#define SF_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sf_dtype {
    SF_F32, SF_F16, SF_BF16, SF_I32,
    /* ggml block formats: 32 (…_0, …_1) or 256 (…_K) weights a block along the last dimension */
    SF_Q8_0, SF_Q4_0, SF_Q4_1, SF_Q5_0, SF_Q5_1, SF_Q4_K, SF_Q6_K,
    /* the rarer ones (ggml_blocks.h): as above, but 64 weights in NVFP4 */
    SF_Q2_K, SF_Q3_K, SF_Q5_K, SF_IQ4_NL, SF_IQ4_XS, SF_IQ2_XXS, SF_IQ2_XS, SF_IQ2_S, SF_IQ3_XXS, SF_IQ3_S, SF_IQ1_S, SF_IQ1_M,
    SF_TQ1_0, SF_TQ2_0, SF_MXFP4, SF_NVFP4,
    SF_F64, SF_I8, SF_I16, SF_I64, /* in files only; whole numbers are no weights */
    SF_DTYPES
} sf_dtype;

typedef struct sf_dtype_info {
    const char *name;
    int block;      /* elements stored together; 1 for plain types */
    int bytes;      /* bytes of such a block */
} sf_dtype_info;

extern const sf_dtype_info sf_dtypes[SF_DTYPES];

/* Bytes of `elements` elements; `elements` must be a multiple of the type's block. */
size_t sf_bytes(sf_dtype dtype, int64_t elements);

/* Whether the device cpu-int8 multiplies weights of a type in whole numbers (kernels/cpu/integers.h); others stay in fp32 there. */
static inline bool sf_integer_type(sf_dtype t)
{
    return (t >= SF_Q8_0 && t <= SF_Q6_K) || t == SF_Q5_K || t == SF_IQ4_NL || t == SF_IQ4_XS;
}

/* Converts `elements` (a multiple of the type's block) to fp32, on the host. */
void sf_to_f32(sf_dtype dtype, const void *from, float *to, int64_t elements);

/* Memory of a backend, seen as an array. Does not own it. data == NULL: absent. */
typedef struct sf_tensor {
    void *data;
    sf_dtype dtype;
    int rank;
    int64_t dim[4];
} sf_tensor;

int64_t sf_elements(const sf_tensor *t);

/* Rows of ascending, unique indices of unequal number:
 *   row r holds index[r * stride + 0 .. count[r])       both arrays are backend memory */
typedef struct sf_lists {
    int64_t rows, stride;
    int32_t *count; /* [rows] */
    int32_t *index; /* [rows, stride] */
} sf_lists;

struct sf_cache_format; /* kernels/cache.h */

/* One stretch of cached keys and values of one sequence at one layer. Keys are stored rotated (after RoPE), so their
 * place in the buffer does not matter to attention. */
typedef struct sf_kv_part {
    void *k, *v;          /* [G, capacity, D]; latent attention: one and the same */
    int64_t capacity;     /* keys a head can hold */
    int n;                /* keys in use (of the fullest head where `count` is given) */
    const int32_t *count; /* [G] keys in use of each head, backend memory; NULL: n for all */
    const int32_t *index; /* [G, stride] a view of a longer part: key j lies at row index[g, j]; NULL: at row j */
    int64_t stride;
    const struct sf_cache_format *format; /* that its rows were rounded to as they were stored, and are counted in; NULL: none */
    bool packed;          /* k, v are the format's bytes (cache.h), of the prompt alone; capacity is of what was packed, under a view too */
} sf_kv_part;

/* Where key j of head g lies in k and v, in rows of D. */
static inline int64_t sf_kv_row(const sf_kv_part *part, int64_t g, int64_t j)
{
    return g * part->capacity + (part->index ? part->index[g * part->stride + j] : j);
}

/* The cache that a query reads: the prompt's part, shared and read-only in decode or a compacted copy, and the part of
 * the tokens generated since, a lane's own. Logical key j is prompt[j] for j < prompt.n, else tail[j - prompt.n]. */
typedef struct sf_kv {
    sf_kv_part prompt, tail;
    sf_dtype dtype;       /* of k and v */
} sf_kv;

#endif
