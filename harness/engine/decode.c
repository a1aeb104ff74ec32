/* Lock-step decode: every lane that still runs is a row of one batch, so that a step reads the weights once for all.
 * Each row reads its own cache (the shared prompt's, or its copy, then its tail) as its own method chooses, at its own
 * position. */
#include "harness/engine/decode.h"
#include "harness/engine/counts.h"
#include "harness/engine/divergence.h"
#include "harness/engine/picture.h"
#include "harness/engine/hooks.h"
#include "harness/engine/stages.h"

#include <stdlib.h>
#include <string.h>

typedef struct lockstep {
    sf_batch *batch;
    int rows; /* lanes still running; all arrays are [lanes] */
    sf_sequence **sequence;
    sf_kv_part **tail;
    float **state; /* of a layer that recurs */
    sf_attention *attention, *view; /* for the executor, and as methods see it */
    sf_pattern *pattern;
    const sf_attention **attentions; /* the arrays above as the executor takes them */
    const sf_pattern **patterns;
    int32_t *input;         /* [2, lanes] tokens, positions */
    sf_meter shared, embed; /* of the step, to be shared out */
} lockstep;

/* ---- one step ---------------------------------------------------------------------------------------------------- */

/* Row i's attention at this layer, of all keys so far. */
static void attend(lockstep *l, int i, int layer)
{
    sf_batch *batch = l->batch;
    sf_sequence *s = l->sequence[i];
    const sf_cache *cache = &s->at[layer];
    int64_t width = (int64_t)batch->config->heads * sf_head_dim_of(batch->config, layer);
    const void *q = sf_activation_at(batch->backend, batch->q, i * width);
    l->attention[i] = sf_batch_attention(batch, layer, 1, q, cache->prompt, cache->tail);
    l->attention[i].window = sf_layer_window(batch->config, layer, s->job->tokens + cache->tail.n - 1);
    if (s->weighed) l->attention[i].weighed = s->weighed + (int64_t)layer * batch->config->heads;
    l->attention[i].begins = s->prompt->begins;
    if (s->lane->decode && s->lane->decode->hidden) { /* the workspace has the rows of one layer's queries until what comes after attention */
        l->attention[i].hidden = sf_activation_at(batch->backend, batch->workspace.normed, (int64_t)i * batch->config->d);
        l->attention[i].width = batch->config->d;
    }
    l->attention[i].pairs = s->pairs + (int64_t)layer * batch->config->heads;
    l->attention[i].carry = s->lane->decode && s->lane->decode->carry ? &s->carry : NULL;
    l->view[i] = sf_batch_view(batch, &l->attention[i], i);
    if (batch->lse) l->attention[i].lse = batch->lse + (int64_t)i * batch->config->heads;
    l->pattern[i] = (sf_pattern){0};
}

/* Rows do not wait for each other between apart() and together(). */
static sf_status apart(const lockstep *l, int i)
{
    sf_backend *b = l->batch->backend;
    return b->ops->lane && l->rows > 1 ? b->ops->lane(b, i) : SF_OK;
}

static sf_status together(const lockstep *l)
{
    sf_backend *b = l->batch->backend;
    return b->ops->lane ? b->ops->lane(b, -1) : SF_OK;
}

/* Shows row i's newest key to its method, which says what the query reads at this layer. */
static sf_status choose(lockstep *l, int i, int layer)
{
    sf_batch *batch = l->batch;
    sf_lane *lane = l->sequence[i]->lane;
    const sf_method *m = lane->decode;
    sf_attention *a = &l->view[i];
    sf_state *state = &l->sequence[i]->at[layer].state;
    if (!m || (!m->observe && !m->decode) || !sf_layer_full(batch->config, layer)) return SF_OK;
    SF_TRY(apart(l, i));
    batch->backend->meter = sf_batch_meter_heads(batch, &lane->meter);
    SF_TRY(sf_hook_observe(a, m, lane->decode_params, state, a->keys - 1));
    if (m->decode) SF_TRY(sf_hook_choose(SF_HOOK_DECODE, a, m, lane->decode_params, state, &l->pattern[i]));
    batch->backend->meter = sf_batch_meter_heads(batch, &l->shared);
    return SF_OK;
}

/* Recall samples the first 2R steps, then every 2nd up to 4R, every 4th up to 8R, … How many steps this one stands for;
 * 0: it is not sampled. */
static int sampled(int step, int recall_rows)
{
    int stride = 1;
    while (step / stride >= 2 * recall_rows) stride *= 2;
    return step % stride == 0 ? stride : 0;
}

static sf_status look(lockstep *l, int i, int layer, int weight)
{
    static const int32_t first_row = 0;
    sf_batch *batch = l->batch;
    sf_backend *b = batch->backend;
    sf_sequence *s = l->sequence[i];
    sf_cache *cache = &s->at[sf_layer_source(batch->config, layer)];
    double *sum = s->recall + (int64_t)layer * batch->config->heads;
    if (!cache->kept.index) return sf_batch_look(batch, &l->attention[i], &l->pattern[i], 1, &first_row, weight, sum);

    /* An evicting lane: what it kept, among all keys. */
    int32_t count[batch->config->kv_heads];
    for (int g = 0; g < batch->config->kv_heads; g++) count[g] = cache->kept_count[g] + cache->tail.n;
    SF_TRY(b->ops->upload(b, cache->kept.count, count, sizeof count));
    sf_attention all = sf_batch_attention(batch, layer, 1, l->attention[i].q, s->prompt->part[layer], cache->tail);
    sf_pattern kept = {.kind = SF_TOKENS, .heads = batch->config->kv_heads, .first = cache->kept};
    return sf_batch_look(batch, &all, &kept, 1, &first_row, weight, sum);
}

/* What the rows' attention gave, against that of all keys; what eviction took is in the prompt's. */
static sf_status step_error(lockstep *l, int layer, int weight)
{
    sf_batch *batch = l->batch;
    const int64_t width = (int64_t)batch->config->heads * sf_head_dim_of(batch->config, layer);
    sf_attention all[l->rows];
    const void *out[l->rows];
    double *sum[l->rows];
    int n = 0;
    for (int i = 0; i < l->rows; i++) {
        sf_sequence *s = l->sequence[i];
        const sf_cache *cache = &s->at[layer];
        if (!s->error || (!s->evicts && l->pattern[i].kind == SF_DENSE)) continue;
        out[n] = sf_activation_at(batch->backend, batch->attention, i * width);
        sum[n] = s->error + (int64_t)layer * batch->config->heads;
        all[n++] = sf_batch_attention(batch, layer, 1, l->attention[i].q, s->evicts ? s->prompt->part[layer] : cache->prompt, cache->tail);
    }
    return sf_batch_output_error(batch, layer, n, all, out, weight, sum);
}

/* What a layer's attention reads, and its mixer. */
static sf_status queries(lockstep *l, int layer)
{
    sf_batch *batch = l->batch;
    if (sf_layer_recurs(batch->config, layer))
        SF_TRY(sf_transformer_project(batch->model, layer, batch->hidden, l->rows, batch->mixer_in, &batch->workspace));
    if (!sf_layer_attends(batch->config, layer)) return SF_OK;
    const bool own = !sf_layer_borrows(batch->config, layer);
    return sf_transformer_qkv(batch->model, layer, batch->hidden, l->rows, batch->token + batch->lanes, batch->q, own ? batch->k : NULL,
                              own ? batch->v : NULL, &batch->workspace);
}

/* From a layer's attention to the queries of the stage's next one, or to the next tokens: the same ops at each step. */
static sf_status go_on(lockstep *l, int layer)
{
    sf_batch *batch = l->batch;
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    const sf_transformer *m = batch->model;
    const sf_rotation *global = &m->positions.global, *local = &m->positions.local;
    const sf_workspace *w = &batch->workspace;
    const void *memory[] = {m->weights.layer, global->cosine, global->sine, local->cosine, local->sine, batch->token,
                            batch->hidden, batch->q, batch->k, batch->v, batch->attention, batch->mixer_in[0], batch->layered,
                            w->normed, w->gate, w->up, w->gated, w->branch, batch->logits, batch->next, w->mixture.logits, w->mixture.out};
    enum { POINTERS = sizeof memory / sizeof *memory };
    _Static_assert(POINTERS + 3 <= SF_STRETCH_KEY, "the key holds all of them");
    uint64_t key[SF_STRETCH_KEY] = {(uint64_t)layer, (uint64_t)l->rows, (uint64_t)batch->lanes};
    for (int i = 0; i < POINTERS; i++) key[3 + i] = (uintptr_t)memory[i];
    bool done = false;
    b->meter = &l->shared; /* before replay(), which counts in a place of its own what it keeps */
    /* What ranks say to each other is not kept, and the key has no room for a latent's buffers. */
    const bool replays = b->ops->replay && !c->latent && !b->comm;
    b->meter = &l->shared; /* before a recording, which counts for itself */
    if (replays) SF_TRY(b->ops->replay(b, key, &done));
    if (done) return SF_OK;
    SF_TRY(sf_transformer_finish(m, layer, sf_layer_attends(c, layer) ? batch->attention : NULL, sf_layer_recurs(c, layer) ? batch->mixer_in[0] : NULL,
                                 batch->layered, l->rows, batch->hidden, &batch->workspace));
    if (layer + 1 < batch->stage.end) {
        SF_TRY(queries(l, layer + 1));
    } else if (sf_batch_ends(batch)) {
        SF_TRY(sf_transformer_logits(m, batch->hidden, l->rows, batch->logits, &batch->workspace));
        if (b->comm) b->meter = sf_batch_meter_once(batch, &l->shared);
        SF_TRY(b->ops->argmax(b, batch->logits, l->rows, c->vocab, batch->next));
    }
    return replays ? b->ops->recorded(b) : SF_OK;
}

/* A row of each lane through the mixer of a layer that recurs, each from its lane's own state on. */
static sf_status mix_layer(lockstep *l, int layer)
{
    sf_batch *batch = l->batch;
    for (int i = 0; i < l->rows; i++) l->state[i] = l->sequence[i]->at[layer].recurrent;
    batch->backend->meter = &l->shared;
    return sf_transformer_advance(batch->model, layer, l->rows, l->state, 1, batch->mixer_in, batch->attention);
}

/* The rows' new keys to their tails; of a layer that borrows, the lender's, which have them already. */
static sf_status extend(lockstep *l, int layer)
{
    sf_batch *batch = l->batch;
    const sf_model_config *c = batch->config;
    const int source = sf_layer_source(c, layer);
    for (int i = 0; source != layer && i < l->rows; i++) l->sequence[i]->at[layer].tail = l->sequence[i]->at[source].tail;
    if (source != layer) return SF_OK;
    for (int i = 0; i < l->rows; i++) l->tail[i] = &l->sequence[i]->at[layer].tail;
    SF_TRY(batch->backend->ops->store_kv(batch->backend, l->rows, l->tail, 1, sf_kv_heads_of(c, layer), sf_head_dim_of(c, layer), batch->k,
                                         batch->v));
    SF_TRY(batch->backend->ops->round_kv(batch->backend, l->rows, l->tail, 1, sf_kv_heads_of(c, layer), sf_head_dim_of(c, layer)));
    for (int i = 0; i < l->rows; i++) l->tail[i]->n++;
    return SF_OK;
}

/* From a layer's queries to its attention. */
static sf_status step_layer(lockstep *l, int step, int layer, int weight)
{
    sf_batch *batch = l->batch;
    sf_backend *b = batch->backend;
    const sf_model_config *c = batch->config;
    b->meter = sf_batch_meter_heads(batch, &l->shared);
    SF_TRY(extend(l, layer));

    sf_mark mark = sf_scratch_mark(b);
    SF_TRY(sf_batch_share_queries(batch, batch->q, l->rows));
    for (int i = 0; i < l->rows; i++) attend(l, i, layer);
    for (int i = 0; i < l->rows; i++) SF_TRY(sf_batch_agree(batch, choose(l, i, layer)));
    SF_TRY(together(l));
    for (int i = 0; i < l->rows; i++) {
        const sf_method *m = l->sequence[i]->lane->decode;
        SF_TRY(sf_batch_reach(batch, &l->view[i], &l->pattern[i], m ? m->name : NULL));
    }
    SF_TRY(b->ops->decode(b, l->rows, l->attentions, l->patterns, batch->attention));
    SF_TRY(sf_batch_sink(batch, &l->shared, layer, l->rows, l->rows, l->patterns, batch->lse, batch->attention));
    if (weight) SF_TRY(b->ops->watch(b, true));
    for (int i = 0; weight && i < l->rows; i++) {
        if (!l->sequence[i]->recall) continue;
        SF_TRY(apart(l, i));
        SF_TRY(look(l, i, layer, weight));
    }
    SF_TRY(together(l));
    if (weight) SF_TRY(b->ops->watch(b, false));
    if (weight && sf_layer_full(c, layer)) SF_TRY(step_error(l, layer, weight));
    for (int i = 0; layer == batch->how->picture_layer && i < l->rows; i++)
        if (l->sequence[i]->lane->picture[SF_DECODE])
            SF_TRY(sf_batch_picture_step(batch, l->sequence[i], &l->attention[i], &l->pattern[i], step));
    sf_scratch_release(b, mark);
    return SF_OK;
}

/* What the latest step has read of this rank's layers and heads, of a lane that wants to know. */
static sf_status tell_read(const sf_batch *batch, sf_sequence *s, int step)
{
    if (!s->lane->read) return SF_OK;
    int64_t heads = sf_batch_heads(batch);
    uint64_t pairs[heads], sum = 0;
    SF_TRY(batch->backend->ops->download(batch->backend, pairs, s->pairs, sizeof pairs));
    for (int64_t i = 0; i < heads; i++) sum += pairs[i];
    s->lane->read[step] = sum - s->pairs_before;
    s->pairs_before = sum;
    return SF_OK;
}

/* This stage's part of a step, from the rows' latest tokens, or from hidden state that is there already. */
static sf_status take_layers(lockstep *l, int step)
{
    sf_batch *batch = l->batch;
    sf_backend *b = batch->backend;
    int weight = batch->how->recall_rows > 0 ? sampled(step, batch->how->recall_rows) : 0;
    for (int i = 0; i < l->rows; i++) l->input[batch->lanes + i] = l->sequence[i]->job->tokens + step;

    SF_TRY(b->ops->upload(b, batch->token, l->input, 2 * (size_t)batch->lanes * sizeof *l->input));
    b->meter = &l->embed;
    if (sf_batch_leads(batch)) SF_TRY(sf_transformer_embed(batch->model, batch->token, l->rows, batch->hidden, &batch->workspace));
    b->meter = &l->shared;
    if (sf_batch_leads(batch)) SF_TRY(sf_transformer_embed_layers(batch->model, batch->hidden, l->rows, batch->layered, &batch->workspace));
    SF_TRY(queries(l, batch->stage.first));
    for (int layer = batch->stage.first; layer < batch->stage.end; layer++) {
        if (sf_layer_recurs(batch->config, layer)) SF_TRY(mix_layer(l, layer));
        if (sf_layer_attends(batch->config, layer)) SF_TRY(step_layer(l, step, layer, weight));
        SF_TRY(go_on(l, layer));
    }
    if (sf_batch_ends(batch)) SF_TRY(b->ops->download(b, l->input, batch->next, (size_t)l->rows * sizeof *l->input));

    for (int i = 0; i < l->rows; i++) {
        sf_batch_share(&l->shared, 1, l->rows, false, &l->sequence[i]->lane->meter);
        sf_batch_share(&l->embed, 1, l->rows, true, &l->sequence[i]->lane->meter);
    }
    memset(&l->shared, 0, sizeof l->shared);
    memset(&l->embed, 0, sizeof l->embed);
    for (int i = 0; i < l->rows; i++) {
        SF_TRY(tell_read(batch, l->sequence[i], step));
        l->sequence[i]->steps++;
        l->sequence[i]->recall_weight += weight;
    }
    if (sf_batch_ends(batch)) SF_TRY(sf_batch_diverge(batch, l->rows, l->sequence, step, l->input));
    return sf_batch_looked(batch);
}

/* From the rows' latest tokens to the ones after them, which are left in `input`, through all stages. */
static sf_status take_step(lockstep *l, int step)
{
    sf_batch *batch = l->batch;
    SF_TRY(sf_stages_receive_step(batch, l->rows, l->sequence));
    const sf_status status = take_layers(l, step), joined = together(l); /* also after a failure: lanes may owe to meters */
    if (status != SF_OK && !batch->backend->stages) return status;
    SF_TRY(joined);
    SF_TRY(sf_stages_send_step(batch, l->rows, l->sequence));
    SF_TRY(sf_stages_agree(batch, status));
    SF_TRY(sf_stages_carry_on(batch, l->rows, l->sequence));
    return sf_stages_tell(batch, l->input, (size_t)l->rows * sizeof *l->input);
}

/* ---- the decode -------------------------------------------------------------------------------------------------- */

static bool is_stop(const sf_batch *batch, int32_t token)
{
    for (int i = 0; i < batch->stops; i++)
        if (batch->stop[i] == token) return true;
    return false;
}

static sf_status no_number(void) { return sf_fail(SF_BAD_INPUT, "no logit of the next token is a number (NaN)"); }

/* The next token of the question that the lane is at; NULL: all of it is read. */
static const int32_t *asked(const sf_sequence *s)
{
    const sf_job *job = s->job;
    const int32_t *token = s->turn ? job->later : job->question;
    for (int i = 1; i < s->turn; i++) token += job->later_tokens[i - 1];
    return s->asked < (s->turn ? job->later_tokens[s->turn - 1] : job->questions) ? token + s->asked : NULL;
}

/* Lanes that follow another are fed with its tokens, and one that is forced with the sample's, once a question that is asked late is
 * read. It stands before its followers. */
static sf_status follow(lockstep *l, int step)
{
    for (int i = 0; i < l->rows; i++) {
        const sf_sequence *s = l->sequence[i];
        const sf_job *job = s->job;
        if (asked(s) || (!s->lane->follows && !s->lane->forced)) continue;
        if (l->input[i] < 0) return no_number();
        int r = 0;
        while (s->lane->follows && l->sequence[r]->lane != s->lane->follows) r++;
        l->input[i] = s->lane->forced ? job->continuation[step] : l->input[r];
    }
    return SF_OK;
}

/* An answer has ended: the next turn's question is read, if there is one. */
static void end_answer(sf_sequence *s, bool stopped)
{
    sf_lane *lane = s->lane;
    lane->stopped = stopped && (s->turn == 0 || lane->stopped);
    if (lane->answer) lane->answer[s->turn] = (sf_answer){lane->outputs, stopped};
    s->ended = lane->outputs;
    s->done = s->turn == s->job->turns;
    if (!s->done) s->turn++, s->asked = 0;
}

/* Hands a row the token that was predicted; *token becomes the one that it reads next. */
static sf_status accept(const sf_batch *batch, sf_sequence *s, int32_t *token)
{
    if (*token < 0) return no_number();
    sf_lane *lane = s->lane;
    const bool forced = (lane->follows ? lane->follows : lane)->forced; /* no token of a text ends it */
    const bool stopped = !forced && !asked(s) && is_stop(batch, *token);
    if (!stopped && !asked(s)) {
        lane->output[lane->outputs++] = *token;
        if (lane->outputs - s->ended == (forced ? s->job->continuations : batch->how->max_output)) end_answer(s, false);
        return SF_OK; /* the token is read before what is asked next */
    }
    if (stopped) end_answer(s, true);
    if (!s->done) {
        *token = *asked(s);
        s->asked++;
    }
    return SF_OK;
}

static sf_status accept_all(lockstep *l, int step)
{
    SF_TRY(follow(l, step));
    for (int i = 0; i < l->rows; i++) SF_TRY(accept(l->batch, l->sequence[i], &l->input[i]));
    return SF_OK;
}

/* Closes the gaps that lanes left which are done. */
static void close_ranks(lockstep *l)
{
    int rows = 0;
    for (int i = 0; i < l->rows; i++) {
        if (l->sequence[i]->done) continue;
        l->sequence[rows] = l->sequence[i];
        l->input[rows++] = l->input[i];
    }
    l->rows = rows;
}

static sf_status open_lockstep(lockstep *l, sf_batch *batch)
{
    size_t n = (size_t)batch->lanes;
    *l = (lockstep){
        .batch = batch,
        .rows = batch->lanes,
        .sequence = calloc(n, sizeof *l->sequence),
        .tail = calloc(n, sizeof *l->tail),
        .state = calloc(n, sizeof *l->state),
        .attention = calloc(n, sizeof *l->attention),
        .view = calloc(n, sizeof *l->view),
        .pattern = calloc(n, sizeof *l->pattern),
        .attentions = calloc(n, sizeof *l->attentions),
        .patterns = calloc(n, sizeof *l->patterns),
        .input = calloc(2 * n, sizeof *l->input),
    };
    if (!l->sequence || !l->tail || !l->state || !l->attention || !l->view || !l->pattern || !l->attentions || !l->patterns || !l->input)
        return sf_fail(SF_NO_MEMORY, "no memory for the tables of %d lanes", batch->lanes);
    for (int i = 0; i < batch->lanes; i++) {
        l->sequence[i] = &batch->sequence[i];
        l->attentions[i] = &l->attention[i];
        l->patterns[i] = &l->pattern[i];
    }
    return SF_OK;
}

static void close_lockstep(lockstep *l)
{
    free(l->sequence);
    free(l->tail);
    free(l->state);
    free(l->attention);
    free(l->view);
    free(l->pattern);
    free(l->attentions);
    free(l->patterns);
    free(l->input);
}

/* Each lane goes on from its prompt's state by itself. */
static sf_status fork_states(const sf_batch *batch, const sf_sequence *s)
{
    sf_backend *b = batch->backend;
    const size_t bytes = sf_bytes(SF_F32, sf_mixer_sizes(batch->config).state);
    for (int layer = batch->stage.first; layer < batch->stage.end; layer++)
        if (sf_layer_recurs(batch->config, layer)) SF_TRY(b->ops->copy(b, s->at[layer].recurrent, s->prompt->recurrent[layer], bytes));
    return SF_OK;
}

static sf_status decode(lockstep *l)
{
    sf_batch *batch = l->batch;
    sf_backend *b = batch->backend;
    b->phase = SF_DECODE;
    int most = 0;
    for (int i = 0; i < batch->lanes; i++) {
        sf_sequence *s = &batch->sequence[i];
        const int steps = sf_job_steps(s->job, batch->how);
        if (steps > most) most = steps;
        SF_TRY(b->ops->zero(b, s->pairs, (size_t)sf_batch_heads(batch) * sizeof *s->pairs));
        if (s->weighed) SF_TRY(b->ops->zero(b, s->weighed, (size_t)sf_batch_heads(batch) * sizeof *s->weighed));
        SF_TRY(fork_states(batch, s));
        l->input[i] = s->prompt->token;
    }
    SF_TRY(sf_stages_carry_on(batch, l->rows, l->sequence));
    SF_TRY(sf_stages_tell(batch, l->input, (size_t)l->rows * sizeof *l->input));
    for (int step = 0;; step++) {
        SF_TRY(sf_stages_agree_all(batch, accept_all(l, step)));
        close_ranks(l);
        if (l->rows == 0) return SF_OK;
        double began = sf_batch_time(batch);
        SF_TRY(take_step(l, step));
        double share = (sf_batch_time(batch) - began) / l->rows;
        for (int i = 0; i < l->rows; i++) l->sequence[i]->lane->seconds[SF_DECODE] += share;
        if (batch->how->progress)
            batch->how->progress(batch->how->user, SF_DECODE, step + 1, most);
    }
}

sf_status sf_batch_decode(sf_batch *batch)
{
    lockstep l;
    sf_status status = open_lockstep(&l, batch);
    if (status == SF_OK) status = decode(&l);
    if (status != SF_OK) (void)together(&l);
    close_lockstep(&l);
    return status;
}
