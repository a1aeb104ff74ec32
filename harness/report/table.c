#include "harness/report/table.h"
#include "harness/report/out.h"

void sf_table_begin(sf_table *t, int texts, int numbers, const char *caption)
{
    t->texts = texts;
    t->columns = texts + numbers;
    t->cells = 0;
    if (t->style == SF_MD) return;
    fputs(t->style == SF_TEX ? "% needs \\usepackage{booktabs,graphicx}; as wide as the page allows\n\\begin{table}\n\\centering\n\\caption{"
                                   : "<p class=note>",
          t->out);
    sf_escape(t->out, t->style, caption);
    fputs(t->style == SF_TEX ? "}\n\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n\\begin{tabular}{" : "</p><div class=\"scroll tall\" tabindex=0 role=group aria-label=table><table><thead>\n", t->out);
    for (int i = 0; t->style == SF_TEX && i < t->columns; i++) fputc(i < texts ? 'l' : 'r', t->out);
    if (t->style == SF_TEX) fputs("}\n\\toprule\n", t->out);
}

static void end_row(sf_table *t)
{
    static const char *const end[] = {" \\\\\n", " |\n", "</tr>\n"};
    fputs(end[t->style], t->out);
    if (t->cells > t->columns) return;
    if (t->style == SF_TEX) fputs("\\midrule\n", t->out);
    if (t->style == SF_HTML) fputs("</thead><tbody>\n", t->out);
    for (int i = 0; t->style == SF_MD && i < t->columns; i++)
        fputs(i < t->texts ? "|---" : "|--:", t->out), fputs(i == t->columns - 1 ? "|\n" : "", t->out);
}

void sf_table_cell(sf_table *t, const char *text, const char *mark)
{
    int column = t->cells++ % t->columns;
    if (t->style == SF_HTML)
        fprintf(t->out, "%s<%s%s>", column ? "" : "<tr>", t->cells > t->columns ? "td" : "th",
                column < t->texts ? " class=l" : "");
    else
        fputs(t->style == SF_MD ? column ? " | " : "| " : column ? " & " : "", t->out);
    sf_escape(t->out, t->style, text);
    if (*mark && t->style == SF_TEX)
        fprintf(t->out, "\\rlap{$^%s$}", mark);
    else if (*mark && t->style == SF_HTML)
        fprintf(t->out, "<sup>%s</sup>", mark);
    else
        sf_escape(t->out, t->style, mark);
    if (column == t->columns - 1) end_row(t);
}

void sf_table_number(sf_table *t, const char *format, double value, const char *mark)
{
    sf_table_cell(t, SF_NUMBER(format, value), mark);
}

void sf_table_end(sf_table *t, const char *name, const char *caption)
{
    if (t->style == SF_TEX)
        fprintf(t->out, "\\bottomrule\n\\end{tabular}}\n\\label{tab:%s}\n\\end{table}\n", name);
    else if (t->style == SF_HTML)
        fputs("</tbody></table></div>\n", t->out);
    else
        fputc('\n', t->out), sf_escape(t->out, t->style, caption), fputc('\n', t->out);
}
