/* The table of the CPU backend, and its opening: the widest instruction set that this machine has. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

/* SF_CPU_ISA=avx512|avx2|generic picks another one, to compare them. */
static const sf_tiles *tiles_here(void)
{
    const sf_tiles *known[] = {
#if defined __x86_64__
        __builtin_cpu_supports("x86-64-v4") ? &sf_tiles_avx512 : NULL,
        __builtin_cpu_supports("x86-64-v3") ? &sf_tiles_avx2 : NULL,
#endif
        &sf_tiles_generic,
    };
    const char *wanted = getenv("SF_CPU_ISA");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] && (!wanted || strcmp(wanted, known[i]->name) == 0)) return known[i];
    return NULL;
}

static sf_status open_backend(sf_backend *b, int device, int threads)
{
    if (device != 0) return sf_fail(SF_BAD_INPUT, "device 'cpu:%d': there is only cpu:0", device);
    const sf_tiles *tiles = tiles_here();
    if (!tiles)
        return sf_fail(SF_UNSUPPORTED, "SF_CPU_ISA=%s: not avx512, avx2 or generic, or not on this machine",
                       getenv("SF_CPU_ISA"));
    b->self = (void *)tiles;
    b->activation = SF_F32;
    b->threads = threads > 0 ? threads : omp_get_num_procs();
    sf_host_open();
    return SF_OK;
}

static void close_backend(sf_backend *b) { (void)b; }

sf_status sf_cpu_room(sf_backend *b, int64_t count, size_t size, void **base)
{
    return sf_scratch_alloc(b, (size_t)count * size * (size_t)b->threads, base);
}

const sf_backend_ops sf_cpu_ops = {
    .name = "cpu",
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
    .embed = sf_cpu_embed,
    .rms_norm = sf_cpu_rms_norm,
    .linear = sf_cpu_linear,
    .rope = sf_cpu_rope,
    .gated = sf_cpu_gated,
    .add = sf_cpu_add,
    .store_kv = sf_cpu_store_kv,
    .gather_kv = sf_cpu_gather_kv,
    .argmax = sf_cpu_argmax,
    .prefill = sf_cpu_prefill,
    .decode = sf_cpu_decode,
    .check_pattern = sf_host_check_pattern,
    .count_pairs = sf_cpu_count_pairs,
    .mass = sf_cpu_mass,
    .probe = sf_cpu_probe,
    .reduce_rows = sf_cpu_reduce_rows,
    .pool = sf_cpu_pool,
    .fill = sf_cpu_fill,
    .fill_at = sf_cpu_fill_at,
    .top = sf_cpu_top,
    .top_counts = sf_cpu_top_counts,
    .top_total = sf_cpu_top_total,
    .top_mass = sf_cpu_top_mass,
    .fit_slashes = sf_cpu_fit_slashes,
    .fit_masses = sf_cpu_fit_masses,
    .block_means = sf_cpu_block_means,
    .top_blocks = sf_cpu_top_blocks,
    .block_probabilities = sf_cpu_block_probabilities,
    .top_block_mass = sf_cpu_top_block_mass,
    .page_bounds = sf_cpu_page_bounds,
    .page_scores = sf_cpu_page_scores,
    .key_probabilities = sf_cpu_key_probabilities,
};
