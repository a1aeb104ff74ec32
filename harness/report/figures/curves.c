/* What all figures of curves share: the CSV's rows and what plots/curves.gp must know. */
#include "harness/report/figures/curves.h"

void sf_curves_begin(sf_plot *plot, sf_curves *c)
{
    fprintf(plot->csv, "panel,series,%s,value,low,high,cells,samples,panel_id,series_id\n", c->xlabel ? "place" : "sparsity");
    c->low = INFINITY;
    c->high = -INFINITY;
}

static void widen(sf_curves *c, const sf_average *x)
{
    if (isnan(x->value) || (c->logarithmic && x->value <= 0)) return;
    c->negative |= x->value < 0;
    c->low = fmin(c->low, c->logarithmic ? x->value : fmin(x->value, x->low)); /* fmin() passes over NAN */
    c->high = fmax(c->high, c->logarithmic ? x->value : fmax(x->value, x->high));
}

void sf_curves_row(sf_plot *plot, sf_curves *c, int panel, int series, const sf_average *x)
{
    if (isnan(x->value) || isnan(x->sparsity)) return;
    sf_csv_row(plot->csv, "ssffffdddd", c->panel[panel], series < 0 ? "dense" : c->name[series], x->sparsity, x->value, x->low,
               x->high, x->cells, x->samples, panel + 1, series + 1);
    widen(c, x);
    if (c->xlabel) plot->xmax = 1;
    else if (x->sparsity < 1) plot->xmax = fmax(plot->xmax, -log2(1 - x->sparsity));
}

/* A step of 1, 2 or 5 times a power of ten that makes at most ten of a span; as wide as readers are used to where it is a score. */
static double tic_step(double span)
{
    if (span <= 1.5) return span > 0.5 ? 0.2 : span > 0.25 ? 0.1 : 0.05;
    double power = pow(10, floor(log10(span / 10))), steps = span / 10 / power;
    return power * (steps <= 1 ? 1 : steps <= 2 ? 2 : steps <= 5 ? 5 : 10);
}

void sf_curves_end(sf_plot *plot, sf_curves *c)
{
    enum { MOST = 256 };
    const char *empty[MOST];
    double dashed[MOST], reference[MOST], low_of[MOST], high_of[MOST];
    int panels = c->panels < MOST ? c->panels : MOST, series = c->series < MOST ? c->series : MOST, longest = 5,
        has_reference = 0;
    for (int i = 0; i < MOST; i++) empty[i] = "", reference[i] = low_of[i] = high_of[i] = NAN;
    for (int i = 0; i < series; i++) {
        dashed[i] = c->dashed && c->dashed[i];
        if ((int)strlen(c->name[i]) > longest) longest = (int)strlen(c->name[i]);
    }
    for (int i = 0; i < panels && c->reference; i++) {
        widen(c, &c->reference[i]);
        reference[i] = c->reference[i].value, low_of[i] = c->reference[i].low, high_of[i] = c->reference[i].high;
        has_reference |= !isnan(reference[i]);
    }
    int columns = c->columns ? c->columns : panels <= 1 ? 1 : panels <= 4 ? 2 : panels <= 9 ? 3 : 4;
    int rows = (panels + columns - 1) / columns;
    plot->template = "curves";
    plot->width = columns <= 2 ? 84 : 174;
    sf_set_legend(plot, series + has_reference, longest);
    plot->height += 14 + rows * (columns == 1 ? 48 : columns == 2 ? 32 : 42) + (rows - 1) * 10;
    double low = c->low, high = c->high, span = high - low, step = span > 1.5 ? tic_step(span) : span > 0.5 ? 0.1 : 0.05;
    if (!(low <= high)) low = 0, high = 1;
    if (!c->negative && low < 0) low = 0;
    if (high - low < step) { /* all alike: room on the side where there can be more */
        if (high >= 1) low = high - step;
        else high = low + step;
    }
    sf_set_texts(plot, "title", panels, c->panel);
    sf_set_number(plot, "panel_n", panels);
    sf_set_texts(plot, "series", series, c->name);
    sf_set_numbers(plot, "dashed", series, dashed);
    sf_set_numbers(plot, "reference", panels, reference);
    sf_set_numbers(plot, "reference_low", panels, low_of);
    sf_set_numbers(plot, "reference_high", panels, high_of);
    sf_set_number(plot, "has_reference", has_reference);
    sf_set_texts(plot, "missing", panels, c->note ? c->note : empty);
    sf_set_text(plot, "ylabel_text", c->ylabel);
    sf_set_text(plot, "xlabel_text", c->xlabel ? c->xlabel : "Sparsity (executed)");
    sf_set_number(plot, "share", c->xlabel != NULL);
    sf_set_number(plot, "percent", c->percent);
    sf_set_number(plot, "logarithmic", c->logarithmic);
    if (c->logarithmic) {
        const bool any = c->low <= c->high;
        sf_set_number(plot, "ymin", any ? pow(10, floor(log10(c->low))) : 0.1);
        sf_set_number(plot, "ymax", any ? pow(10, ceil(log10(c->high) + 1e-9)) : 1);
        sf_set_number(plot, "ystep", 10);
        sf_set_number(plot, "xmax", plot->xmax + (c->xlabel ? 0 : 0.25));
        sf_set_number(plot, "columns", columns);
        return;
    }
    sf_set_number(plot, "ymin", (floor(low / step) * step) * (c->percent ? 100 : 1));
    sf_set_number(plot, "ymax", (ceil(high / step) * step) * (c->percent ? 100 : 1));
    sf_set_number(plot, "ystep", tic_step(high - low) * (c->percent ? 100 : 1));
    sf_set_number(plot, "xmax", plot->xmax + (c->xlabel ? 0 : 0.25));
    sf_set_number(plot, "columns", columns);
}
