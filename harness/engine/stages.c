#include "harness/engine/stages.h"

#include "harness/engine/hooks.h"

static sf_comm *stages_of(const sf_batch *batch) { return batch->backend->stages; }
static bool leads(const sf_comm *c) { return c->rank == 0; }
static bool ends(const sf_comm *c) { return c->rank == c->size - 1; }

/* ---- what is carried ------------------------------------------------------------------------------------------------ */

static bool carries(const sf_method *m) { return m && m->carry; }

static sf_status open_carry(sf_batch *batch, const sf_method *m, const void *params, const sf_job *job, sf_state *out)
{
    if (!carries(m)) return SF_OK;
    int layer = 0; /* one that methods see */
    while (sf_heads_differ(batch->config) && batch->config->sliding[layer] && layer < batch->config->layers - 1) layer++;
    sf_attention a = sf_batch_attention(batch, layer, 0, NULL, (sf_kv_part){.n = job->tokens}, (sf_kv_part){0});
    a = sf_batch_view(batch, &a, 0);
    return sf_hook_carry(&a, m, params, job->tokens + sf_job_steps(job, batch->how), batch->store, out);
}

sf_status sf_stages_carry(sf_batch *batch)
{
    for (int i = 0; i < batch->prompts; i++) {
        sf_prompt *p = &batch->prompt[i];
        SF_TRY(open_carry(batch, p->method, p->params, p->job, &p->carry));
    }
    for (int i = 0; i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        SF_TRY(open_carry(batch, s->lane->decode, s->lane->decode_params, s->job, &s->carry));
    }
    return SF_OK;
}

/* ---- from one to another -------------------------------------------------------------------------------------------- */

typedef struct way {
    sf_comm *comm;
    sf_backend *backend;
    int from, to; /* one of them this stage */
} way;

static bool from_before(const sf_batch *batch, way *out)
{
    sf_comm *c = stages_of(batch);
    if (!c || leads(c)) return false;
    *out = (way){c, batch->backend, c->rank - 1, c->rank};
    return true;
}

static bool to_after(const sf_batch *batch, way *out)
{
    sf_comm *c = stages_of(batch);
    if (!c || ends(c)) return false;
    *out = (way){c, batch->backend, c->rank, c->rank + 1};
    return true;
}

static sf_status hand_over(const way *w, void *data, size_t bytes)
{
    const sf_comm_ops *ops = w->comm->ops;
    return w->from == w->comm->rank ? ops->send(w->comm, w->backend, data, bytes, w->to) : ops->receive(w->comm, w->backend, data, bytes, w->from);
}

static sf_status hand_carry(const way *w, const sf_method *m, const sf_state *carry)
{
    for (int i = 0; carries(m) && i < SF_STATE_TENSORS; i++) {
        const sf_tensor *t = &carry->tensor[i];
        if (t->data) SF_TRY(hand_over(w, t->data, sf_bytes(t->dtype, sf_elements(t))));
    }
    return SF_OK;
}

static sf_status hand_sequences(const way *w, int rows, sf_sequence *const *sequence)
{
    for (int i = 0; i < rows; i++) SF_TRY(hand_carry(w, sequence[i]->lane->decode, &sequence[i]->carry));
    return SF_OK;
}

static sf_status hand_hidden(const sf_batch *batch, const way *w, int rows)
{
    return hand_over(w, batch->hidden, sf_bytes(SF_F32, (int64_t)rows * batch->config->d));
}

static sf_status hand_wave(const sf_batch *batch, const way *w, const sf_wave *wave)
{
    SF_TRY(hand_hidden(batch, w, wave->rows));
    for (int i = 0; i < wave->prompts; i++) SF_TRY(hand_carry(w, wave->prompt[i].method, &wave->prompt[i].carry));
    for (int i = 0; i < batch->lanes; i++) {
        const sf_sequence *s = &batch->sequence[i];
        if (s->prompt >= wave->prompt && s->prompt < wave->prompt + wave->prompts) SF_TRY(hand_carry(w, s->lane->decode, &s->carry));
    }
    return SF_OK;
}

sf_status sf_stages_receive_wave(sf_batch *batch, const sf_wave *wave)
{
    way w;
    return from_before(batch, &w) ? hand_wave(batch, &w, wave) : SF_OK;
}

sf_status sf_stages_send_wave(sf_batch *batch, const sf_wave *wave)
{
    way w;
    return to_after(batch, &w) ? hand_wave(batch, &w, wave) : SF_OK;
}

static sf_status hand_step(const sf_batch *batch, const way *w, int rows, sf_sequence *const *sequence)
{
    SF_TRY(hand_hidden(batch, w, rows));
    return hand_sequences(w, rows, sequence);
}

sf_status sf_stages_receive_step(sf_batch *batch, int rows, sf_sequence *const *sequence)
{
    way w;
    return from_before(batch, &w) ? hand_step(batch, &w, rows, sequence) : SF_OK;
}

sf_status sf_stages_send_step(sf_batch *batch, int rows, sf_sequence *const *sequence)
{
    way w;
    return to_after(batch, &w) ? hand_step(batch, &w, rows, sequence) : SF_OK;
}

sf_status sf_stages_carry_on(sf_batch *batch, int rows, sf_sequence *const *sequence)
{
    sf_comm *c = stages_of(batch);
    if (!c || (!leads(c) && !ends(c))) return SF_OK;
    return hand_sequences(&(way){c, batch->backend, c->size - 1, 0}, rows, sequence);
}

/* ---- among all ------------------------------------------------------------------------------------------------------- */

sf_status sf_stages_agree(sf_batch *batch, sf_status status)
{
    sf_comm *comm = batch->backend->comm;
    if (!stages_of(batch)) return status;
    if (status != SF_OK && comm && !batch->agreed) comm->ops->abort(comm);
    status = sf_comm_agree(stages_of(batch), status);
    batch->agreed |= status != SF_OK;
    return status;
}

sf_status sf_stages_agree_all(sf_batch *batch, sf_status status) { return sf_stages_agree(batch, sf_batch_agree(batch, status)); }

sf_status sf_stages_tell(const sf_batch *batch, void *data, size_t bytes)
{
    sf_comm *c = stages_of(batch);
    return c ? sf_comm_tell(c, c->size - 1, data, bytes) : SF_OK;
}

static sf_status share_lane(const sf_batch *batch, sf_lane *lane)
{
    sf_comm *c = stages_of(batch);
    double seconds[c->size];
    for (int p = 0; p < SF_PHASES; p++) {
        if (!lane->divergence[p]) continue;
        SF_TRY(sf_stages_tell(batch, &lane->divergences[p], sizeof lane->divergences[p]));
        if (lane->divergences[p] == 0) continue;
        SF_TRY(sf_stages_tell(batch, lane->divergence[p], (size_t)lane->divergences[p] * sizeof *lane->divergence[p]));
    }
    c->ops->gather_host(c, &lane->seconds[SF_PREFILL], sizeof *seconds, seconds);
    lane->seconds[SF_PREFILL] = 0;
    for (int r = 0; r < c->size; r++) lane->seconds[SF_PREFILL] += seconds[r];
    return SF_OK;
}

sf_status sf_stages_share(sf_batch *batch)
{
    for (int i = 0; stages_of(batch) && i < batch->lanes; i++) SF_TRY(share_lane(batch, batch->sequence[i].lane));
    return SF_OK;
}
