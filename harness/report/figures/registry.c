/* The figures, in page order: one line each. SF_FIGURE(x) names `const sf_figure sf_figure_x`, defined in a file here. */
#include "harness/report/figures/registry.h"

#define FIGURES                 \
    SF_FIGURE(patterns)         \
    SF_FIGURE(frontier)         \
    SF_FIGURE(frontier_exact)   \
    SF_FIGURE(isotime)          \
    SF_FIGURE(tasks)            \
    SF_FIGURE(forms)            \
    SF_FIGURE(lengths)          \
    SF_FIGURE(lengths_absolute) \
    SF_FIGURE(depth)            \
    SF_FIGURE(models)           \
    SF_FIGURE(ablation)         \
    SF_FIGURE(joint)            \
    SF_FIGURE(estimation)       \
    SF_FIGURE(recall)           \
    SF_FIGURE(divergence)       \
    SF_FIGURE(divergence_along) \
    SF_FIGURE(nll_along)        \
    SF_FIGURE(caches)           \
    SF_FIGURE(heads)            \
    SF_FIGURE(output_error)     \
    SF_FIGURE(canvas)           \
    SF_FIGURE(cost)

#define SF_FIGURE(name) extern const sf_figure sf_figure_##name;
FIGURES
#undef SF_FIGURE

#define SF_FIGURE(name) &sf_figure_##name,
const sf_figure *const sf_figures[] = {FIGURES NULL};
