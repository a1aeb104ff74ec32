/* The families: one line each. FAMILY(x) names `const sf_family sf_family_x`, defined in a file here. Messages list
 * them in this order. */
#include "harness/model/family.h"

#define FAMILIES          \
    FAMILY(llama)         \
    FAMILY(mistral)       \
    FAMILY(qwen2)         \
    FAMILY(qwen3)         \
    FAMILY(gemma2)        \
    FAMILY(gemma3)        \
    FAMILY(gemma4)        \
    FAMILY(llama4)        \
    FAMILY(phi3)          \
    FAMILY(granite)       \
    FAMILY(smollm3)       \
    FAMILY(seed_oss)      \
    FAMILY(ernie4_5)      \
    FAMILY(hunyuan)       \
    FAMILY(glm)           \
    FAMILY(glm4)          \
    FAMILY(nemotron)      \
    FAMILY(olmo2)         \
    FAMILY(olmo3)         \
    FAMILY(cohere2)       \
    FAMILY(exaone4)       \
    FAMILY(ministral3)    \
    FAMILY(starcoder2)    \
    FAMILY(arcee)         \
    FAMILY(apertus)       \
    FAMILY(qwen2_moe)     \
    FAMILY(qwen3_moe)     \
    FAMILY(mixtral)       \
    FAMILY(glm4_moe)      \
    FAMILY(minimax_m2)    \
    FAMILY(deepseek_v2)   \
    FAMILY(deepseek_v3)   \
    FAMILY(glm4_moe_lite) \
    FAMILY(gpt_oss)       \
    FAMILY(frontier_mini) \
    FAMILY(lfm2)          \
    FAMILY(qwen3_next)    \
    FAMILY(qwen3_5)       \
    FAMILY(lfm2_moe)      \
    FAMILY(qwen3_5_moe)   \
    FAMILY(granitemoehybrid) \
    FAMILY(bamba) \
    FAMILY(falcon_h1) \
    FAMILY(nemotron_h) \
    FAMILY(nemotron_h_moe)

#define FAMILY(name) extern const sf_family sf_family_##name;
FAMILIES
#undef FAMILY

#define FAMILY(name) &sf_family_##name,
const sf_family *const sf_families[] = {FAMILIES NULL};
