#include "methods/toll.h"

void sf_toll_open(sf_toll *t, const sf_extent *e)
{
    const bool decode = e->phase == SF_DECODE;
    const int prompt = sf_toll_prompt(e);
    *t = (sf_toll){.a = {.backend = &t->backend, .layers = e->layers, .heads = e->heads, .kv_heads = e->kv_heads, .head_dim = e->head_dim,
                         .queries = decode ? 1 : e->tokens, .keys = e->tokens, .kv = {.dtype = e->element}},
                   .backend = {.activation = e->element, .phase = e->phase, .meter = &t->meter}};
    t->a.kv.prompt.n = prompt, t->a.kv.tail.n = e->tokens - prompt;
}

sf_estimate sf_toll_paid(const sf_toll *t, double share)
{
    const sf_count *c = &t->meter.at[t->backend.phase][SF_ESTIMATION];
    double bytes = (double)c->weight_bytes + (double)c->cache_bytes;
    double paid = share * (t->backend.phase == SF_PREFILL ? (double)c->flops : bytes / (double)sf_bytes(t->backend.activation, 1));
    return (sf_estimate){.paper = paid, .exact = paid};
}

void sf_toll_group(sf_toll *t, int64_t n) { sf_meter_scores(&t->backend, t->a.heads * n, t->a.kv_heads * n, t->a.heads * n); }
void sf_toll_add(sf_toll *t, int64_t rows, int64_t n) { sf_meter_scores(&t->backend, 2 * rows * n, rows * n, 2 * rows * n); }
void sf_toll_top(sf_toll *t, int64_t rows, int64_t n) { sf_meter_select(&t->backend, rows * n); }

void sf_toll_listed(sf_toll *t, int64_t keys)
{
    sf_meter_listed_probabilities(&t->backend, &t->a, t->a.heads * keys, t->a.kv_heads * keys);
}

void sf_toll_probe(sf_toll *t, int window) { sf_meter_probe(&t->backend, &t->a, window, 1, true, false); }

sf_estimate sf_toll_mean(const sf_extent *e, const void *params, int every, sf_estimate (*of_step)(const sf_extent *, const void *))
{
    if (e->phase == SF_PREFILL || e->step > 0) return of_step(e, params);
    const int steps = e->output > 0 && e->output < every ? e->output : every > 1 ? every : 1;
    double sum = 0;
    for (int i = 1; i <= steps; i++) {
        sf_extent at = *e;
        at.step = i, at.tokens += i;
        sum += of_step(&at, params).exact;
    }
    return (sf_estimate){.paper = sum / steps, .exact = sum / steps};
}

int sf_toll_living(const sf_extent *e, const sf_living_budget *budget)
{
    int alive = sf_toll_prompt(e);
    for (int step = 1; step <= e->step; step += budget->every) {
        const sf_attention a = {.keys = sf_toll_prompt(e) + step};
        const int most = sf_living_most(&a, budget), born = e->step - step + 1;
        alive = (alive < most ? alive : most) + (born < budget->every ? born : budget->every);
    }
    return alive;
}

int sf_toll_prompt(const sf_extent *e)
{
    const int born = e->phase == SF_DECODE ? e->step : 0;
    return e->tokens > born ? e->tokens - born : 0;
}
