/* A filling of the layers around attention that computes nothing and counts everything: what an op of a whole model would have
 * added to the meter, where its parts were computed by several ranks. No device opens it by name. */
#include "kernels/counting.h"
#include "kernels/count.h"

static sf_status embed(sf_backend *b, const sf_tensor *table, const int32_t *token, int64_t rows, float scale, float *out)
{
    (void)token, (void)scale, (void)out;
    return sf_meter_embed(b, table, rows), SF_OK;
}

static sf_status rms_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight, float offset,
                          float eps, void *out)
{
    (void)x, (void)offset, (void)eps, (void)out;
    return sf_meter_norm(b, from, rows, width, weight), SF_OK;
}

static sf_status layer_norm(sf_backend *b, const void *x, sf_dtype from, int64_t rows, int width, const sf_tensor *weight,
                            const sf_tensor *bias, float offset, float eps, void *out)
{
    (void)x, (void)offset, (void)eps, (void)out;
    return sf_meter_layer_norm(b, from, rows, width, weight, bias), SF_OK;
}

static sf_status cast(sf_backend *b, const float *x, int64_t n, void *out)
{
    (void)x, (void)out;
    return sf_meter_cast(b, n), SF_OK;
}

static sf_status linear(sf_backend *b, const void *x, int64_t rows, const sf_tensor *w, const sf_tensor *bias, bool add, void *y,
                        sf_dtype dtype)
{
    (void)x, (void)add, (void)y;
    return sf_meter_linear(b, rows, w, bias, dtype), SF_OK;
}

static sf_status rope(sf_backend *b, void *x, int64_t rows, int heads, int head_dim, int rotary, const int32_t *position,
                      const float *cosine, const float *sine, bool interleaved)
{
    (void)x, (void)head_dim, (void)position, (void)cosine, (void)sine, (void)interleaved;
    return sf_meter_rope(b, rows, heads, rotary), SF_OK;
}

static sf_status scale_queries(sf_backend *b, void *q, int64_t rows, int heads, int head_dim, const int32_t *position, const float *beta,
                               const float *gamma, float delta, float range)
{
    (void)q, (void)position, (void)beta, (void)gamma, (void)delta, (void)range;
    return sf_meter_scale_queries(b, rows, heads, head_dim), SF_OK;
}

static sf_status gated(sf_backend *b, void *gate, const void *up, int64_t rows, int width, sf_curve curve)
{
    (void)gate, (void)curve;
    return sf_meter_gated(b, rows, width, up != NULL), SF_OK;
}

static sf_status copy_columns(sf_backend *b, const void *x, int64_t from, int64_t rows, int64_t n, void *y, int64_t to)
{
    (void)x, (void)from, (void)y, (void)to;
    return sf_meter_columns(b, rows, n), SF_OK;
}

static sf_status add(sf_backend *b, float *x, const void *y, int64_t n, float scale)
{
    (void)x, (void)y, (void)scale;
    return sf_meter_residual(b, n), SF_OK;
}

static sf_status route(sf_backend *b, const float *logits, int64_t rows, const sf_router *router, const sf_tensor *correction,
                       int32_t *expert, float *share)
{
    (void)logits, (void)expert, (void)share;
    return sf_meter_route(b, rows, router, correction), SF_OK;
}

static sf_status experts(sf_backend *b, const void *x, bool own, int64_t rows, int n, int chosen, const int32_t *expert,
                         const sf_tensor *w, const sf_tensor *bias, void *y)
{
    (void)x, (void)n, (void)expert, (void)bias, (void)y;
    return sf_meter_experts(b, rows, own, chosen, w), SF_OK;
}

static sf_status combine(sf_backend *b, float *x, const void *y, int64_t rows, int chosen, int width, const float *share)
{
    (void)x, (void)y, (void)share;
    return sf_meter_combine(b, rows, chosen, width), SF_OK;
}

const sf_backend_ops sf_counting_ops = {
    .name = "counting", .embed = embed, .rms_norm = rms_norm, .layer_norm = layer_norm, .cast = cast,
    .linear = linear,   .rope = rope,   .gated = gated,       .copy_columns = copy_columns, .add = add,
    .route = route,     .experts = experts, .combine = combine, .scale_queries = scale_queries,
};
