#include "harness/report/escape.h"

#include <string.h>

struct sign {
    const char *from, *to;
};

static const struct sign
    tex[] = {{"\\", "\\textbackslash{}"}, {"~", "\\textasciitilde{}"}, {"^", "\\textasciicircum{}"}, {"_", "\\_"},
             {"%", "\\%"}, {"&", "\\&"}, {"#", "\\#"}, {"$", "\\$"}, {"{", "\\{"}, {"}", "\\}"},
             {"<", "\\textless{}"}, {">", "\\textgreater{}"}, {"|", "\\textbar{}"}, {"`", "\\textasciigrave{}"}, {"\"", "''"},
             {"−", "$-$"}, {"×", "$\\times$"}, {"·", "$\\cdot$"}, {"–", "--"}, {"≤", "$\\le$"}, {"≥", "$\\ge$"}, {0}},
    md[] = {{"\\", "\\\\"}, {"|", "\\|"}, {"_", "\\_"}, {"*", "\\*"}, {"`", "\\`"}, {"](", "]\\("}, {"#", "\\#"},
            {"~", "\\~"}, {"$", "\\$"}, {"<", "&lt;"}, {">", "&gt;"}, {"&", "&amp;"}, {0}},
    html[] = {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}, {0}};

static const struct sign *const signs[] = {[SF_TEX] = tex, [SF_MD] = md, [SF_HTML] = html};

/* Latin letters with accents, which LaTeX sets from its standard fonts; not Ð, Þ, ×, ð, þ, ÷. */
static int has_glyph(const unsigned char *text)
{
    return text[0] == 0xc3 && text[1] >= 0x80 && !strchr("\x90\x9e\x97\xb0\xbe\xb7", text[1]);
}

void sf_escape(FILE *out, sf_markup markup, const char *text)
{
    while (text && *text) {
        const unsigned char *at = (const unsigned char *)text;
        const struct sign *s = signs[markup];
        while (s->from && strncmp(text, s->from, strlen(s->from)) != 0) s++;
        if (s->from) {
            fputs(s->to, out), text += strlen(s->from);
        } else if (*at < 128 || markup != SF_TEX || has_glyph(at)) {
            int bytes = *at < 128 || markup != SF_TEX ? 1 : 2;
            if (*at < ' ' || *at == 127)
                fputc(' ', out);
            else
                fwrite(text, 1, (size_t)bytes, out);
            text += bytes;
        } else {
            for (fputc('?', out), text++; ((unsigned char)*text & 0xc0) == 0x80;) text++;
        }
    }
}
