/* The table of the CPU backend, and its opening: the widest instruction set that this machine has. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

/* What the two levels of tiles stand on, feature by feature: clang before 17 does not know "x86-64-v3". A machine with
 * these has the levels' smaller ones (F16C, LZCNT, MOVBE) too. */
#if defined __x86_64__
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

static bool has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

/* SF_CPU_ISA=avx512|avx2|generic picks another one, to compare them. */
static const sf_tiles *tiles_here(void)
{
    const sf_tiles *known[] = {
#if defined __x86_64__
        has_v4() ? &sf_tiles_avx512 : NULL,
        has_v3() ? &sf_tiles_avx2 : NULL,
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
    SF_EACH_OP(SF_OP_ROW, sf_cpu_)
    .fit_slashes = sf_cpu_fit_slashes,
    .fit_masses = sf_cpu_fit_masses,
    .convolve = sf_cpu_convolve,
    .delta_rule = sf_cpu_delta_rule,
};
