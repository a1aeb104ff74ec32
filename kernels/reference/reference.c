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
    .embed = sf_reference_embed,
    .rms_norm = sf_reference_rms_norm,
    .linear = sf_reference_linear,
    .rope = sf_reference_rope,
    .gated = sf_reference_gated,
    .add = sf_reference_add,
    .store_kv = sf_reference_store_kv,
    .gather_kv = sf_reference_gather_kv,
    .argmax = sf_reference_argmax,
    .prefill = sf_reference_prefill,
    .decode = sf_reference_decode,
    .check_pattern = sf_host_check_pattern,
    .count_pairs = sf_reference_count_pairs,
    .mass = sf_reference_mass,
    .probe = sf_reference_probe,
    .reduce_rows = sf_reference_reduce_rows,
    .pool = sf_reference_pool,
    .fill = sf_reference_fill,
    .fill_at = sf_reference_fill_at,
    .top = sf_reference_top,
    .top_counts = sf_reference_top_counts,
    .top_total = sf_reference_top_total,
    .top_mass = sf_reference_top_mass,
    .block_means = sf_reference_block_means,
    .top_blocks = sf_reference_top_blocks,
    .block_probabilities = sf_reference_block_probabilities,
    .top_block_mass = sf_reference_top_block_mass,
    .page_bounds = sf_reference_page_bounds,
    .page_scores = sf_reference_page_scores,
    .key_probabilities = sf_reference_key_probabilities,
};
