/* The tables of the CPU backend, and its opening: as `cpu`, in fp32, by the widest instruction set that this machine has; as
 * `cpu-bf16` by AMX; as `cpu-int8` like `cpu`, but for activations of linear layers whose weights are quantised, which are rounded to 8 bits. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined __x86_64__
#include <cpuid.h>
#endif
#if defined __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

/* The processor's features by CPUID, since GCC 12 has no names for them; then the kernel's leave for this process to use tiles,
 * whose state is large (Documentation/arch/x86/xstate.rst). */
static const char *lacks_amx(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AVX512_BF16 = 1 << 5 };
    unsigned a, b, c, d, a1 = 0;
    if (!has_v4() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !__get_cpuid_count(7, 1, &a1, &b, &c, &a)) return "this processor has not";
    if ((d & (AMX_BF16 | AMX_TILE)) != (AMX_BF16 | AMX_TILE) || !(a1 & AVX512_BF16)) return "this processor has not";
#if defined __linux__
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0) return NULL;
#endif
    return "this kernel does not let programs use";
}
#else
static const char *lacks_amx(void) { return "this processor has not"; }
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

static sf_status open_with(sf_backend *b, const sf_tiles *tiles, int threads)
{
    b->self = (void *)tiles;
    b->activation = SF_F32;
    b->products = tiles->exact ? SF_BF16 : SF_F32;
    b->threads = threads > 0 ? threads : omp_get_num_procs();
    sf_host_open();
    return SF_OK;
}

static sf_status open_backend(sf_backend *b, int device, int threads)
{
    if (device != 0) return sf_fail(SF_BAD_INPUT, "device 'cpu:%d': there is only cpu:0", device);
    const sf_tiles *tiles = tiles_here();
    if (!tiles)
        return sf_fail(SF_UNSUPPORTED, "SF_CPU_ISA=%s: not avx512, avx2 or generic, or not on this machine",
                       getenv("SF_CPU_ISA"));
    return open_with(b, tiles, threads);
}

static sf_status open_int8(sf_backend *b, int device, int threads)
{
    if (device != 0) return sf_fail(SF_BAD_INPUT, "device 'cpu-int8:%d': there is only cpu-int8:0", device);
    SF_TRY(open_backend(b, device, threads));
    b->products = SF_Q8_0;
    return SF_OK;
}

/* SF_CPU_ISA=loops: AMX's twin, for tests; it is slower than fp32. */
static sf_status open_bf16(sf_backend *b, int device, int threads)
{
    const char *wanted = getenv("SF_CPU_ISA");
    if (device != 0) return sf_fail(SF_BAD_INPUT, "device 'cpu-bf16:%d': there is only cpu-bf16:0", device);
    if (wanted && strcmp(wanted, "loops") == 0) return open_with(b, &sf_tiles_bf16, threads);
    const char *lacking = lacks_amx();
    if (lacking)
        return sf_fail(SF_UNSUPPORTED, "device 'cpu-bf16' multiplies by AMX-BF16, which %s; device 'cpu' computes in fp32 anywhere", lacking);
#if defined __x86_64__
    return open_with(b, &sf_tiles_amx, threads);
#endif
}

static void close_backend(sf_backend *b) { (void)b; }

sf_status sf_cpu_room(sf_backend *b, int64_t count, size_t size, void **base)
{
    return sf_scratch_alloc(b, (size_t)count * size * (size_t)b->threads, base);
}

/* All of them have the same ops. */
#define CPU_OPS                                                                                                        \
    .views = true,                                                                                                     \
    .caps = true,                                                                                                      \
    .lse = true,                                                                                                       \
    .latent = true,                                                                                                    \
    .entmax = true,                                                                                                    \
    .close = close_backend,                                                                                            \
    .alloc = sf_host_alloc,                                                                                            \
    .free = sf_host_free,                                                                                              \
    .upload = sf_host_upload,                                                                                          \
    .download = sf_host_download,                                                                                      \
    .copy = sf_host_copy,                                                                                              \
    .zero = sf_host_zero,                                                                                              \
    .synchronize = sf_host_synchronize,                                                                                \
    .watch = sf_host_watch,                                                                                            \
    .memory = sf_host_memory,                                                                                          \
    .import_weight = sf_host_import_weight,                                                                            \
    .release_weight = sf_host_release_weight,                                                                          \
    .check_pattern = sf_host_check_pattern,                                                                            \
    SF_EACH_OP(SF_OP_ROW, sf_cpu_)                                                                                     \
    .fit_slashes = sf_cpu_fit_slashes,                                                                                 \
    .fit_masses = sf_cpu_fit_masses,                                                                                   \
    .budgets = sf_host_budgets,                                                                                        \
    .rows_alike = sf_host_rows_alike,                                                                                  \
    .unite_blocks = sf_host_unite_blocks,                                                                              \
    .merge_tiles = sf_host_merge_tiles,                                                                                \
    .draw_blocks = sf_host_draw_blocks,                                                                                \
    .convolve = sf_cpu_convolve,                                                                                       \
    .delta_rule = sf_cpu_delta_rule,                                                                                   \
    .state_space = sf_cpu_state_space,                                                                                 \
    .scale = sf_cpu_scale,                                                                                             \
    .weigh_experts = sf_cpu_weigh_experts,                                                                             \
    .index_scores = sf_cpu_index_scores,

const sf_backend_ops sf_cpu_ops = {.name = "cpu", .open = open_backend, CPU_OPS};
const sf_backend_ops sf_cpu_int8_ops = {.name = "cpu-int8", .open = open_int8, CPU_OPS};
const sf_backend_ops sf_cpu_bf16_ops = {.name = "cpu-bf16", .open = open_bf16, CPU_OPS};
