#include "harness/engine/rope.h"

#include <math.h>

/* Llama 3.1: long wavelengths are stretched by `factor`, short ones stay, those between are blended. */
static void stretch_llama3(const sf_rope_config *rope, int pairs, float *frequency)
{
    float factor = (float)rope->factor, original = (float)rope->original_positions, low = (float)rope->low_freq_factor;
    float between = (float)(rope->high_freq_factor - rope->low_freq_factor);
    float longest = (float)(rope->original_positions / rope->low_freq_factor);
    float shortest = (float)(rope->original_positions / rope->high_freq_factor);
    for (int i = 0; i < pairs; i++) {
        float wavelength = (float)(2 * M_PI) / frequency[i];
        float blend = (original / wavelength - low) / between;
        if (wavelength > longest)
            frequency[i] /= factor;
        else if (between > 0 && !(wavelength < shortest))
            frequency[i] = (1 - blend) * frequency[i] / factor + blend * frequency[i];
    }
}

/* The pair, as a real number, that turns `rotations` times over the original positions. YaRN (2309.00071) 3.2. */
static double yarn_pair(const sf_rope_config *rope, double rotations, int head_dim)
{
    return head_dim * log(rope->original_positions / (rotations * 2 * M_PI)) / (2 * log(rope->theta));
}

/* YaRN: pairs that turn more than beta_fast times keep their frequency, below beta_slow they are interpolated. */
static float stretch_yarn(const sf_rope_config *rope, int head_dim, double factor, float *frequency)
{
    double low = yarn_pair(rope, rope->beta_fast, head_dim), high = yarn_pair(rope, rope->beta_slow, head_dim);
    if (!rope->between_pairs) low = floor(low), high = ceil(high);
    low = fmax(low, 0);
    high = fmin(high, head_dim - 1);
    if (low == high) high += 0.001;
    for (int i = 0; i < head_dim / 2; i++) {
        float ramp = ((float)i - (float)low) / (float)(high - low);
        float kept = 1 - fminf(fmaxf(ramp, 0), 1);
        float period = powf((float)rope->theta, (float)(2 * i) / (float)head_dim);
        float interpolated = 1 / ((float)factor * period);
        frequency[i] = interpolated * (1 - kept) + 1 / period * kept;
    }
    if (rope->attention_factor != 0) return (float)rope->attention_factor;
    return factor > 1 ? (float)(0.1 * log(factor) + 1) : 1;
}

/* The base that NTK-aware scaling gives a longer context; transformers computes the power in fp32 from here on. */
static void stretch_dynamic(const sf_rope_config *rope, int head_dim, int max_tokens, float *frequency)
{
    double length = fmax(max_tokens, rope->original_positions);
    double grown = rope->factor * length / rope->original_positions - (rope->factor - 1);
    float base = (float)(rope->theta * pow(grown, head_dim / (head_dim - 2.0)));
    for (int i = 0; i < head_dim / 2; i++) frequency[i] = 1 / powf(base, (float)(2 * i) / (float)head_dim);
}

static float stretch_long(const sf_rope_config *rope, int head_dim, int max_tokens, float *frequency)
{
    const float *divisor = rope->longer[max_tokens > rope->original_positions];
    for (int i = 0; i < head_dim / 2; i++)
        frequency[i] = 1 / (divisor[i] * powf((float)rope->theta, (float)(2 * i) / (float)head_dim));
    if (rope->attention_factor != 0) return (float)rope->attention_factor;
    return rope->factor <= 1 ? 1 : (float)sqrt(1 + log(rope->factor) / log(rope->original_positions));
}

void sf_rope_frequencies(const sf_rope_config *rope, int head_dim, int max_tokens, float *frequency, float *scale)
{
    int pairs = head_dim / 2;
    for (int i = 0; i < pairs; i++) frequency[i] = 1 / powf((float)rope->theta, (float)(2 * i) / (float)head_dim);
    *scale = 1;
    double factor = rope->factor;
    switch (rope->scaling) {
    case SF_ROPE_PLAIN: break;
    case SF_ROPE_LINEAR:
        for (int i = 0; i < pairs; i++) frequency[i] /= (float)factor;
        break;
    case SF_ROPE_DYNAMIC: stretch_dynamic(rope, head_dim, max_tokens, frequency); break;
    case SF_ROPE_LONG: *scale = stretch_long(rope, head_dim, max_tokens, frequency); break;
    case SF_ROPE_LLAMA3: stretch_llama3(rope, pairs, frequency); break;
    case SF_ROPE_YARN:
        if (factor == 0) {
            if (max_tokens <= rope->original_positions) break; /* by rule: nothing to stretch */
            factor = (double)max_tokens / rope->original_positions;
        }
        *scale = stretch_yarn(rope, head_dim, factor, frequency);
        break;
    }
    const int turning = (int)(rope->turning * head_dim / 2);
    for (int i = turning; rope->turning != 0 && i < pairs; i++) frequency[i] = 0;
}

void sf_rope_table(const float *frequency, float scale, int head_dim, int positions, float *cosine, float *sine)
{
    int pairs = head_dim / 2;
    for (int p = 0; p < positions; p++) {
        for (int i = 0; i < pairs; i++) {
            float angle = (float)p * frequency[i];
            cosine[(int64_t)p * pairs + i] = cosf(angle) * scale;
            sine[(int64_t)p * pairs + i] = sinf(angle) * scale;
        }
    }
}
