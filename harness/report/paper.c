/* paper.tex: a document that shows how figures and a table of the report go into a paper, ready for pdflatex. */
#include "harness/report/page.h"

/* Text as LaTeX source: what is special to it, and the few signs beyond ASCII that captions have. */
static void latex(FILE *out, const char *text)
{
    static const struct {
        const char *from, *to;
    } sign[] = {{"\\", "\\textbackslash{}"}, {"~", "\\textasciitilde{}"}, {"^", "\\textasciicircum{}"}, {"_", "\\_"},
                {"%", "\\%"},                {"&", "\\&"},                {"#", "\\#"},                {"$", "\\$"},
                {"{", "\\{"},                {"}", "\\}"},                {"<", "\\textless{}"},       {">", "\\textgreater{}"},
                {"`", "\\textasciigrave{}"}, {"\"", "''"},  {"−", "$-$"},                {"×", "$\\times$"},
                {"–", "--"},                 {"≤", "$\\le$"},             {"≥", "$\\ge$"}};
    while (*text) {
        size_t k = 0, signs = sizeof sign / sizeof *sign;
        while (k < signs && strncmp(text, sign[k].from, strlen(sign[k].from)) != 0) k++;
        if (k < signs)
            fputs(sign[k].to, out), text += strlen(sign[k].from);
        else if ((unsigned char)*text < 128)
            fputc(*text++, out);
        else /* a sign that this document's fonts may lack */
            for (fputc('?', out), text++; ((unsigned char)*text & 0xc0) == 0x80;) text++;
    }
}

static void figure(FILE *out, const sf_made *made)
{
    fprintf(out, "\\begin{figure}[htbp]\n\\centering\n\\includegraphics[width=%.0fmm]{figures/%s.pdf}\n\\caption{",
            made->width, made->name);
    latex(out, made->caption);
    fprintf(out, "}\n\\label{fig:%s}\n\\end{figure}\n\n", made->name);
}

/* The first plot of a figure; NULL: it was not made. */
static const sf_made *find(int plots, const sf_made *made, const char *title)
{
    for (int i = 0; i < plots; i++)
        if (strcmp(made[i].title, title) == 0) return &made[i];
    return NULL;
}

sf_status sf_report_paper(const sf_view *v, const char *folder, int plots, const sf_made *made)
{
    extern const sf_figure sf_figure_frontier, sf_figure_tasks;
    const sf_made *shown[2] = {find(plots, made, sf_figure_frontier.title), find(plots, made, sf_figure_tasks.title)};
    int next = 0;
    for (int i = 0; i < 2; i++) /* where these were not asked for, whatever was */
        while (!shown[i] && next < plots) {
            shown[i] = &made[next++];
            if (shown[i] == shown[!i]) shown[i] = NULL;
        }
    sf_status status = SF_OK;
    FILE *out = sf_report_open(folder, "paper", ".tex", &status);
    if (!out) return status;
    fputs("% Figures and a table of this report as they go into a paper; here: pdflatex paper.tex (twice, for the numbers).\n"
          "% In a paper of two columns (84 mm): figure* for the figures that are wider, table* for the table.\n"
          "\\documentclass[10pt]{article}\n"
          "\\usepackage[a4paper,textwidth=174mm,textheight=250mm]{geometry}\n"
          "\\usepackage[utf8]{inputenc}\n\\usepackage{textcomp,graphicx,booktabs}\n"
          "\\renewcommand{\\topfraction}{0.95}\n\\renewcommand{\\textfraction}{0.05}\n\\title{Sparse attention: ",
          out);
    fprintf(out, "%d model%s, %d task%s, %d method arm%s}\n\\author{}\n\\date{}\n\n\\begin{document}\n\\maketitle\n\n",
            v->models, v->models == 1 ? "" : "s", v->tasks, v->tasks == 1 ? "" : "s", v->arms - 1,
            v->arms == 2 ? "" : "s");
    fputs("Measured with Frontier.", out);
    for (int i = 0; i < 2; i++)
        if (shown[i]) fprintf(out, " Figure~\\ref{fig:%s}: %s.", shown[i]->name, shown[i]->title);
    fputs(" Table~\\ref{tab:limits}: how sparse each method may go.\n\n", out);
    for (int i = 0; i < 2; i++)
        if (shown[i]) figure(out, shown[i]);
    fputs("\\begingroup\\small\\setlength{\\tabcolsep}{3pt}\n\\input{tables/limits}\n\\endgroup\n\n\\end{document}\n", out);
    sf_report_close(out, "paper.tex", &status);
    return status;
}
