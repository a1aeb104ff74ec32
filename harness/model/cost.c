#include "base/running.h"
#include "harness/model/cost.h"
#include "harness/model/mixer.h"

#include <assert.h>
#include <math.h>

static void term(sf_cost *out, const char *name, double paper, double exact)
{
    assert(out->terms < SF_COST_TERMS);
    out->term[out->terms++] = (sf_cost_term){name, paper, exact};
    out->paper += paper;
    out->exact += exact;
}

/* Pairs of L queries with the keys at or before them, at most `window` of them, or in chunks of so many. */
static double causal_pairs(double L, double window, bool chunked)
{
    if (chunked) {
        const double whole = floor(L / window), rest = L - whole * window;
        return whole * window * (window + 1) / 2 + rest * (rest + 1) / 2;
    }
    if (window >= L) return L * (L + 1) / 2;
    return window * (window + 1) / 2 + (L - window) * window;
}

static void add_estimation(const sf_model_config *m, const sf_cost_query *q, const sf_method *method, const void *params, bool watching,
                           const char *name, int layers, sf_cost *out)
{
    if (!method || !method->estimate) return;
    sf_extent extent = {.phase = q->phase,
                        .tokens = (int)q->tokens,
                        .output = q->output,
                        .heads = m->heads,
                        .kv_heads = m->kv_heads,
                        .head_dim = m->head_dim,
                        .layers = m->layers,
                        .width = m->d,
                        .watching = watching,
                        .element = q->element};
    sf_running_enter("method", method->name, "estimate", "", -1);
    sf_estimate e = method->estimate(&extent, params);
    sf_running_leave();
    double times = (double)q->batch * layers;
    term(out, name, times * e.paper, times * e.exact);
}

/* Elements of the MLPs of all layers that `rows` rows go through: each matrix once, of experts as many as the rows choose. */
static double mlp_elements(const sf_model_config *m, double rows)
{
    const sf_router *r = &m->router;
    double all = 0, d = m->d, read = fmin(rows * r->chosen, r->experts);
    for (int l = 0; l < m->layers; l++) {
        if (m->bare[l]) continue;
        if (!sf_layer_mixes(m, l))
            all += (m->gateless ? 2 : 3) * d * sf_layer_mlp(m, l);
        else
            all += (m->gateless ? 2 : 3) * d * (read * m->expert_mlp + m->shared_mlp + (m->experts_beside ? m->mlp : 0)) + d * r->experts + (m->shared_switch ? d : 0);
    }
    return all;
}

/* Elements of the projections of all layers that attend. */
static double projection_elements(const sf_model_config *m)
{
    double all = 0;
    for (int l = 0; l < m->layers; l++) all += sf_layer_attends(m, l) ? sf_projection_elements(m, l) : 0;
    return all;
}

/* What tokens' embeddings for each layer take: matrices, and numbers read of their table. */
static double layer_inputs(const sf_model_config *m) { return m->layers * (sf_layer_input_elements(m) + (double)m->d * m->layer_dim); }
static double layer_rows(const sf_model_config *m) { return (double)m->layers * m->layer_dim; }

/* A layer of the kind that sees everything, and one of the kind that slides: the last ones of theirs. */
static int layer_of(const sf_model_config *m, bool slides)
{
    int l = m->layers - 1;
    while (l > 0 && (m->sliding[l] != slides || !sf_layer_attends(m, l))) l--;
    return l;
}

/* Units of them, summed over layers. */
static double mlp_units(const sf_model_config *m)
{
    double all = 0;
    for (int l = 0; l < m->layers; l++)
        all += m->bare[l] ? 0 : sf_layer_mixes(m, l) ? (double)m->router.chosen * m->expert_mlp + m->shared_mlp + (m->experts_beside ? m->mlp : 0) : sf_layer_mlp(m, l);
    return all;
}

/* B (2Ld + N [2Ld (2d + 2 d_h n_kv) + ρ h L² (4 d_h + 3)] + 2 N L d_mlp (3d + 1) + 2Ld |V|), FLOPs. */
static void prefill(const sf_model_config *m, const sf_cost_query *q, int global, int sliding, sf_cost *out)
{
    double L = (double)q->tokens, B = (double)q->batch, N = global + sliding, d = m->d, V = m->vocab, exact = projection_elements(m);
    double h = m->heads, kv = m->kv_heads, d_h = m->head_dim, pair = 4 * d_h - 2 * sf_latent_rotary(m) + 3, gate = m->attention_gate ? d_h * h : 0;
    double sliding_pair = 4.0 * sf_head_dim_of(m, layer_of(m, true)) + 3;
    const bool own = m->latent || sf_heads_differ(m) || m->shared_from || m->keys_are_values; /* of which the paper has no formula */
    double window = m->window < L ? m->window : L, idle = q->weighing ? 1 - q->weighing : 0; /* pairs whose values are not read */
    double executed = pair - idle * 2 * d_h, sliding_executed = sliding_pair - idle * 2 * sf_head_dim_of(m, layer_of(m, true));

    term(out, "embedding", B * 2 * L * d, 0);
    term(out, "projections", B * 2 * L * (own ? exact : N * d * (2 * d + 2 * d_h * kv + gate)), B * 2 * L * exact);
    term(out, "attention", B * global * q->density * h * L * L * pair,
         B * global * q->density * h * causal_pairs(L, L, false) * executed);
    if (sliding) {
        term(out, "sliding attention", B * sliding * h * L * window * sliding_pair,
             B * sliding * h * causal_pairs(L, window, m->chunked) * sliding_executed);
    }
    const int recurring = sf_layers_recurring(m);
    if (recurring) {
        const struct sf_mixer_sizes mixer = sf_mixer_sizes(m);
        double flops = B * recurring * L * (2 * (double)mixer.matrices + (double)mixer.flops);
        term(out, "recurrence", flops, flops);
    }
    if (m->layer_dim) term(out, "layer embeddings", B * 2 * L * layer_inputs(m), B * 2 * L * layer_inputs(m));
    term(out, "mlp", B * 2 * L * (mlp_elements(m, 1) + mlp_units(m)), B * 2 * L * mlp_elements(m, 1));
    term(out, "head", B * 2 * L * d * V, B * 2 * d * V);
}

/* W + B·2 N L d_h n_kv ρ, elements; W = N (projections + 3 d d_mlp) + d (|V| + 1), projections as the checkpoint has
 * them. */
static void decode(const sf_model_config *m, const sf_cost_query *q, int global, int sliding, sf_cost *out)
{
    double L = (double)q->tokens, B = (double)q->batch, N = global + sliding, recurring = sf_layers_recurring(m), d = m->d, V = m->vocab;
    double h = m->heads, kv = m->kv_heads, d_h = m->head_dim;
    const struct sf_mixer_sizes mixer = sf_mixer_sizes(m);
    double window = m->window < L ? m->window : L;
    if (m->chunked && sliding) window = (double)((q->tokens - 1) % m->window + 1);

    double gate = m->attention_gate ? d_h * h : 0, projections = projection_elements(m), cached = sf_cached_numbers(m) * kv;
    const int slides = layer_of(m, true);
    double sliding_cached = m->latent ? cached : 2.0 * sf_head_dim_of(m, slides) * sf_kv_heads_of(m, slides);
    const double unread = q->weighing ? fmax(0, 1 - q->weighing * h / kv) : 0; /* a value once for all heads of its group */
    double read = cached - unread * d_h * kv, sliding_read = sliding_cached - unread * sf_head_dim_of(m, slides) * sf_kv_heads_of(m, slides);
    double biases = 0;
    for (int l = 0; m->qkv_bias && l < m->layers; l++)
        biases += sf_layer_attends(m, l) ? sf_head_dim_of(m, l) * (h + (sf_layer_borrows(m, l) ? 0 : 2.0 * sf_kv_heads_of(m, l))) + gate : 0;
    double parts = 2 * m->layers; /* each with a norm */
    for (int l = 0; l < m->layers; l++) parts -= m->bare[l] + m->idle[l];
    double norms = parts * d * (m->post_norms ? 2 : 1) + N * (m->latent + m->query_latent) + d;
    for (int l = 0; m->qk_norm && l < m->layers; l++)
        norms += sf_layer_attends(m, l) ? (sf_layer_borrows(m, l) ? 1 : 2) * sf_head_dim_of(m, l) : 0;
    if (m->layer_dim) norms += m->layers * d + m->layer_dim;
    if (m->experts_beside) norms += m->layers * (4 * d + m->router.experts);
    for (int l = 0; l < m->layers; l++) norms += m->qk_unit && !m->unrotated[l] ? 2 * d_h : 0;
    if (gate) norms += N * d; /* which reads the normed rows anew */

    term(out, "embedding", d + layer_rows(m), B * (d + layer_rows(m)));
    term(out, "projections", projections, projections);
    if (recurring) {
        double weights = recurring * (double)(mixer.matrices + mixer.vectors);
        term(out, "recurrence", weights, weights);
    }
    if (m->layer_dim) term(out, "layer embeddings", layer_inputs(m), layer_inputs(m));
    term(out, "mlp", mlp_elements(m, B), mlp_elements(m, B));
    term(out, "head", d * V, d * V);
    term(out, "norms and biases", 0, norms + biases);
    out->weights = out->paper;
    term(out, "cache", B * global * L * cached * q->density, B * global * L * read * q->density);
    if (recurring) term(out, "state", B * recurring * 2 * (double)mixer.state, B * recurring * 2 * (double)mixer.state);
    if (sliding) term(out, "sliding cache", B * sliding * window * sliding_cached, B * sliding * window * sliding_read);
}

void sf_cost_of(const sf_model_config *model, const sf_cost_query *query, sf_cost *out)
{
    int sliding = 0;
    for (int l = 0; l < model->layers; l++) sliding += sf_layer_slides(model, l);
    int global = sf_layers_attending(model) - sliding, own = 0; /* own: with keys to evict */
    for (int l = 0; l < model->layers; l++) own += sf_layer_full(model, l) && !sf_layer_borrows(model, l);

    *out = (sf_cost){0};
    if (query->phase == SF_PREFILL)
        prefill(model, query, global, sliding, out);
    else
        decode(model, query, global, sliding, out);
    /* What chooses once, to evict, has no part in decode. */
    const sf_method *m = query->method, *w = query->watches;
    const bool chooses = query->phase == SF_PREFILL || (m && (!m->compress || m->observe || m->decode));
    if (chooses) add_estimation(model, query, m, query->params, false, "estimation", global, out);
    if (query->phase == SF_PREFILL && w && (w->compress || w->observe))
        add_estimation(model, query, w, query->watches_params, true, w->compress ? "eviction" : "observation", w->compress ? own : global, out);
}
