/* The table of the reference backend. */
#include "kernels/reference/reference.h"

#include "kernels/host.h"

static sf_status open_backend(sf_backend *b, int device, int threads)
{
    (void)threads; /* one thread: order of evaluation is part of being checkable */
    if (device != 0) return sf_fail(SF_BAD_INPUT, "device 'reference:%d': there is only reference:0", device);
    b->activation = SF_F32;
    b->threads = 1;
    sf_host_open();
    return SF_OK;
}

static void close_backend(sf_backend *b) { (void)b; }

const sf_backend_ops sf_reference_ops = {
    .name = "reference",
    .views = true,
    .caps = true,
    .lse = true,
    .latent = true,
    .entmax = true,
    .open = open_backend,
    .close = close_backend,
    .alloc = sf_host_alloc,
    .free = sf_host_free,
    .upload = sf_host_upload,
    .download = sf_host_download,
    .copy = sf_host_copy,
    .zero = sf_host_zero,
    .synchronize = sf_host_synchronize,
    .watch = sf_host_watch,
    .memory = sf_host_memory,
    .import_weight = sf_host_import_weight,
    .release_weight = sf_host_release_weight,
    .check_pattern = sf_host_check_pattern,
    SF_EACH_OP(SF_OP_ROW, sf_reference_)
    .budgets = sf_host_budgets,
    .rows_alike = sf_host_rows_alike,
    .unite_blocks = sf_host_unite_blocks,
    .merge_tiles = sf_host_merge_tiles,
    .draw_blocks = sf_host_draw_blocks,
    .convolve = sf_reference_convolve,
    .delta_rule = sf_reference_delta_rule,
    .state_space = sf_reference_state_space,
    .scale = sf_reference_scale,
    .weigh_experts = sf_reference_weigh_experts,
    .index_scores = sf_reference_index_scores,
};
