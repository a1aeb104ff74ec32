#include "harness/report/paper.h"
#include "harness/report/escape.h"

static void figure(FILE *out, const sf_made *made)
{
    fprintf(out, "\\begin{figure}[htbp]\n\\centering\n\\includegraphics[width=%.0fmm]{figures/%s.pdf}\n\\caption{",
            made->width, made->name);
    sf_escape(out, SF_TEX, made->caption);
    fprintf(out, "}\n\\label{fig:%s}\n\\end{figure}\n\n", made->name);
}

/* The first plots of the figures that are for papers; where these were not made, others. */
static void choose(int plots, const sf_made *made, const sf_made *shown[2])
{
    int n = 0;
    shown[0] = shown[1] = NULL;
    for (int wanted = 1; wanted >= 0; wanted--)
        for (int i = 0; i < plots && n < 2; i++)
            if (made[i].figure->in_paper == wanted && (!n || shown[0]->figure != made[i].figure)) shown[n++] = &made[i];
}

sf_status sf_report_paper(const sf_view *v, const char *folder, int plots, const sf_made *made)
{
    const sf_made *shown[2];
    choose(plots, made, shown);
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
        if (shown[i]) fprintf(out, " Figure~\\ref{fig:%s}: %s.", shown[i]->name, shown[i]->figure->title);
    fputs(" Table~\\ref{tab:limits}: how sparse each method may go.\n\n", out);
    for (int i = 0; i < 2; i++)
        if (shown[i]) figure(out, shown[i]);
    fputs("\\begingroup\\small\\setlength{\\tabcolsep}{3pt}\n\\input{tables/limits}\n\\endgroup\n\n\\end{document}\n", out);
    sf_report_close(out, "paper.tex", &status);
    return status;
}
