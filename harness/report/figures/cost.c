/* What a model's cost is made of by the study's formulas, dense and at 5x sparsity, over lengths. */
#include "harness/model/cost.h"
#include "harness/report/figure.h"

enum { LENGTHS = 8, MODELS = 4 /* a plot */, TERMS = 5 };
static const double sparsity = 0.8;
static const int further[] = {16384, 131072}; /* lengths shown beyond those of the results */
static const char *const terms[TERMS] = {"projections", "attention, cache", "MLP", "head, embedding", "sliding layers"};

/* The formulas' terms, gathered into those of the legend. */
static int group_of(const char *term)
{
    if (!strcmp(term, "projections")) return 0;
    if (!strcmp(term, "attention") || !strcmp(term, "cache")) return 1;
    if (!strcmp(term, "mlp")) return 2;
    if (!strncmp(term, "sliding", 7)) return 4;
    return 3;
}

/* Results say neither what recurs nor how long chunks are. */
static bool told(const sf_cell_info *shape)
{
    return shape->d > 0 && !(shape->recurrent_layers > 0) && !(shape->sliding_layers > 0 && shape->window == 0);
}

/* The models that dense attention is of: [v->models], by place. */
static int dense_models(const sf_view *v, int *out)
{
    int n = 0;
    for (int m = 0; m < v->models; m++)
        if (!*sf_model_attention(&v->model[m])) out[n++] = m;
    return n;
}

static int plots(const sf_view *v)
{
    int model[v->models + 1], models = dense_models(v, model), with_shape = 0;
    for (int m = 0; m < models; m++) with_shape += told(v->model[model[m]].shape);
    return with_shape == models ? (models + MODELS - 1) / MODELS : 0;
}

static void breakdown(const sf_view *v, const sf_cell_info *shape, int phase, int tokens, double density,
                      double out[TERMS])
{
    sf_model_config config = {.layers = shape->layers,
                              .d = shape->d,
                              .heads = shape->heads,
                              .kv_heads = shape->kv_heads,
                              .head_dim = shape->head_dim,
                              .mlp = shape->mlp,
                              .vocab = shape->vocab,
                              .window = shape->window};
    const int room = (int)(sizeof config.sliding / sizeof *config.sliding);
    for (int l = 0; l < shape->sliding_layers && l < room; l++) config.sliding[l] = 1; /* which ones does not matter */
    sf_cost cost;
    sf_cost_of(
        &config,
        &(sf_cost_query){.phase = (sf_phase)phase, .tokens = tokens, .batch = (int64_t)v->batch, .density = density},
        &cost);
    for (int t = 0; t < TERMS; t++) out[t] = 0;
    for (int t = 0; t < cost.terms; t++) out[group_of(cost.term[t].name)] += cost.term[t].paper;
}

static sf_status make(const sf_view *v, int which, sf_plot *plot)
{
    int of[v->models + 1], all = dense_models(v, of), first = which * MODELS, models = all - first < MODELS ? all - first : MODELS, lengths = 0,
        length[LENGTHS];
    bool slides = false;
    for (int l = v->lengths > 6 ? v->lengths - 6 : 0; l < v->lengths; l++) length[lengths++] = v->length[l];
    for (int i = 0; i < 2; i++)
        if (further[i] > length[lengths - 1]) length[lengths++] = further[i];
    if (all > MODELS) snprintf(plot->name + strlen(plot->name), 32, "-%d", which + 1);

    const char *title[SF_PHASES * MODELS];
    char tics[512] = "(";
    for (int l = 0; l < lengths; l++) {
        char tokens[16];
        sf_tokens_label(length[l], tokens);
        snprintf(tics + strlen(tics), sizeof tics - strlen(tics), "%s'%s' %d", l ? ", " : "", tokens, l + 1);
    }
    strcat(tics, ")");
    fprintf(plot->csv, "phase,model,tokens,sparsity,term,cost,x,from,to,panel_id,term_id\n");
    for (int p = 0; p < SF_PHASES; p++)
        for (int m = 0; m < models; m++) {
            const sf_view_model *model = &v->model[of[first + m]];
            int panel = p * models + m;
            title[panel] = p ? "" : model->label;
            for (int l = 0; l < lengths; l++) {
                double dense = 0;
                for (int sparse = 0; sparse < 2; sparse++) {
                    double cost[TERMS], from = 0, x = l + 1 + (sparse ? 0.2 : -0.2);
                    breakdown(v, model->shape, p, length[l], sparse ? 1 - sparsity : 1, cost);
                    for (int t = 0; t < TERMS && !sparse; t++) dense += cost[t];
                    for (int t = 0; t < TERMS; t++) {
                        double to = from + cost[t] / dense;
                        slides |= t == 4 && cost[t] > 0;
                        if (cost[t] > 0)
                            sf_csv_row(plot->csv, "ssdfsffffdd", sf_phase_label(p), model->label, length[l],
                                       sparse ? sparsity : 0.0, terms[t], cost[t], x, from, to, panel + 1, t + 1);
                        from = to;
                    }
                    if (sparse)
                        sf_csv_row(plot->csv, "ssdfsffffdd", sf_phase_label(p), model->label, length[l], sparsity,
                                   "total", from * dense, x, 0.0, from, panel + 1, 0);
                }
            }
        }
    char label[32];
    snprintf(label, sizeof label, "sparsity %g", sparsity);
    plot->template = "cost";
    plot->width = models == 1 ? 84 : 174;
    sf_set_legend(plot, TERMS - !slides, 16);
    plot->height += 100;
    sf_set_texts(plot, "title", SF_PHASES * models, title);
    sf_set_texts(plot, "term", TERMS - !slides, terms);
    sf_set_text(plot, "tics", tics);
    sf_set_number(plot, "x_n", lengths);
    sf_set_text(plot, "sparse_label", label);
    sf_set_number(plot, "columns", models);
    fprintf(
        plot->caption,
        "Composition of cost by the study's formulas at batch %g: prefill FLOPs (over the full square) and elements "
        "read per decode step of the batch, each relative to dense at that length. Left bars dense, right bars at sparsity %g of "
        "the layers "
        "with full attention, without the cost of estimation; numbers: total of the sparse bar.",
        v->batch, sparsity);
    return SF_OK;
}

const sf_figure sf_figure_cost = {
    .name = "cost", .title = "What cost is made of", .plots = plots, .make = make, .lacks = "needs the models' shapes"};
