/* Template text → tokens. White space is cut here, as jinja2's lexer does with trim_blocks and lstrip_blocks: the
 * newline behind a block or comment goes, and so does the white space between a line's begin and a block or comment;
 * "-" inside a tag takes all white space on its side, "+" keeps it. */
#include "harness/model/jinja_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST_BRACKETS = 512 };

struct lexer {
    sf_jrun *r;
    const char *at, *end;
    bool line_starts; /* what was read last ended with a newline */
    sf_jtoken *token;
    size_t tokens, room;
    char open[DEEPEST_BRACKETS]; /* brackets that wait to be closed */
    int opened;
};

static void count_lines(struct lexer *l, const char *from, const char *to)
{
    for (; from < to; from++) l->r->line += *from == '\n';
}

static void add(struct lexer *l, sf_jtoken token)
{
    if (l->tokens == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        sf_jtoken *more = sf_jinja_take(l->r, room * sizeof *more);
        if (!more) return;
        if (l->tokens) memcpy(more, l->token, l->tokens * sizeof *more);
        l->token = more;
        l->room = room;
    }
    token.line = l->r->line;
    l->token[l->tokens++] = token;
}

static bool is_space(const char *s, const char *end)
{
    return s < end && sf_jinja_space(sf_jinja_point(s, (size_t)(end - s)));
}

static const char *skip_space(const char *s, const char *end)
{
    while (is_space(s, end)) s += sf_jinja_letter(s, (size_t)(end - s));
    return s;
}

static bool all_space(const char *s, const char *end) { return skip_space(s, end) == end; }

/* Moves past the end of a tag; `trims`: one newline behind it goes. */
static void leave(struct lexer *l, const char *past, char sign, bool trims)
{
    const char *from = past;
    if (sign == '-')
        past = skip_space(past, l->end);
    else if (sign != '+' && trims && past < l->end && *past == '\n')
        past++;
    count_lines(l, from, past);
    l->line_starts = past > from && past[-1] == '\n';
    l->at = past;
}

/* ---- outside of tags ------------------------------------------------------------------------------------------- */

/* The text up to a tag that begins at `tag` with `sign`. strips: a block or comment, to which lstrip_blocks applies. */
static void data(struct lexer *l, const char *tag, char sign, bool strips)
{
    const char *from = l->at, *to = tag;
    if (sign == '-') {
        sf_jvalue cut = sf_jinja_strip(l->r, sf_jinja_text(from, (size_t)(to - from)), NULL, SF_J_RIGHT);
        to = from + cut.text.bytes;
    } else if (sign != '+' && strips) {
        const char *line = to;
        while (line > from && line[-1] != '\n') line--;
        if ((line > from || l->line_starts) && all_space(line, to)) to = line;
    }
    if (to > from) add(l, (sf_jtoken){.kind = SF_J_T_DATA, .value = sf_jinja_text(from, (size_t)(to - from))});
    count_lines(l, from, tag);
}

/* After "{%" and its sign: `word` alone in the tag. Then *past is behind "%}" and *sign the one before that. */
static bool lone_word(const struct lexer *l, const char *s, const char *word, const char **past, char *sign)
{
    size_t n = strlen(word);
    s = skip_space(s, l->end);
    if ((size_t)(l->end - s) < n || memcmp(s, word, n)) return false;
    s = skip_space(s + n, l->end);
    *sign = s < l->end && (*s == '-' || *s == '+') ? *s++ : 0;
    *past = s + 2;
    return l->end - s >= 2 && s[0] == '%' && s[1] == '}';
}

/* {% raw %} has been left behind: all is data up to {% endraw %}. */
static void raw(struct lexer *l)
{
    for (const char *s = l->at; l->end - s >= 2; s++) {
        if (s[0] != '{' || s[1] != '%') continue;
        const char *word = s + 2, *past;
        char sign = word < l->end && (*word == '-' || *word == '+') ? *word++ : 0, shut;
        if (!lone_word(l, word, "endraw", &past, &shut)) continue;
        data(l, s, sign, true);
        count_lines(l, s, past);
        leave(l, past, shut, true);
        return;
    }
    sf_jinja_fail(l->r, SF_BAD_INPUT, "{%% raw %%} without {%% endraw %%}");
}

static void comment(struct lexer *l)
{
    const char *s = l->at;
    while (l->end - s >= 2 && (s[0] != '#' || s[1] != '}')) s++;
    if (l->end - s < 2) {
        sf_jinja_fail(l->r, SF_BAD_INPUT, "{# without #}");
        return;
    }
    count_lines(l, l->at, s);
    leave(l, s + 2, s > l->at && (s[-1] == '-' || s[-1] == '+') ? s[-1] : 0, true);
}

/* ---- inside of tags -------------------------------------------------------------------------------------------- */

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static size_t put_point(char *to, int32_t c)
{
    if (c < 0x80) return to[0] = (char)c, 1;
    if (c < 0x800) return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return to[0] = (char)(0xe0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63)), 3;
    to[0] = (char)(0xf0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* The digits of \x41, \u0041, \U00000041 or \101; -1: too few, or no character. */
static int32_t escaped_point(const char **at, const char *end, int digits, int base)
{
    int64_t c = 0;
    int n = 0;
    for (; n < digits && *at < end; n++, ++*at) {
        char d = **at;
        int v = digit(d) ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : 99;
        if (v >= base) break;
        c = c * base + v;
    }
    if (base == 16 && n < digits) return -1;
    return c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? -1 : (int32_t)c;
}

/* A quoted text, escapes as Python's; l->at is at the opening quote. */
static void quoted(struct lexer *l)
{
    static const char plain[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    const char quote = *l->at, *s = l->at + 1;
    while (s < l->end && *s != quote) s += *s == '\\' && l->end - s > 1 ? 2 : 1;
    if (s >= l->end) {
        sf_jinja_fail(l->r, SF_BAD_INPUT, "a text is opened with %c and not closed", quote);
        return;
    }
    const char *from = l->at + 1, *to = s;
    char *made = sf_jinja_take(l->r, (size_t)(to - from) + 4), *end = made;
    if (!made) return;
    for (s = from; s < to;) {
        if (*s != '\\') {
            *end++ = *s++;
            continue;
        }
        char c = s[1];
        s += 2;
        const char *known = NULL;
        for (const char *p = plain; *p && !known; p += 2)
            if (*p == c) known = p + 1;
        int32_t point = -2;
        if (known)
            *end++ = *known;
        else if (c == '\n')
            continue; /* a line goes on */
        else if (c == 'x')
            point = escaped_point(&s, to, 2, 16);
        else if (c == 'u')
            point = escaped_point(&s, to, 4, 16);
        else if (c == 'U')
            point = escaped_point(&s, to, 8, 16);
        else if (c >= '0' && c <= '7')
            point = (s--, escaped_point(&s, to, 3, 8));
        else if (c == 'N' || (unsigned char)c >= 0x80)
            point = -1;
        else
            *end++ = '\\', *end++ = c; /* as Python: kept as it stands */
        if (point >= 0) end += put_point(end, point);
        if (point == -1) {
            sf_jinja_fail(l->r, SF_UNSUPPORTED, "the escape \\%.*s in a text", (unsigned char)c >= 0x80 ? 0 : 1, &c);
            return;
        }
    }
    add(l, (sf_jtoken){.kind = SF_J_T_TEXT, .value = sf_jinja_text(made, (size_t)(end - made))});
    count_lines(l, l->at, to);
    l->at = to + 1;
}

/* Digits from s on, with single underscores between them. */
static const char *digits(const char *s, const char *end)
{
    if (s >= end || !digit(*s)) return s;
    for (s++; s < end; s++)
        if (!digit(*s) && !(*s == '_' && end - s > 1 && digit(s[1]))) break;
    return s;
}

static const char *float_end(const struct lexer *l, bool after_point)
{
    const char *whole = digits(l->at, l->end), *s = whole;
    if (after_point) return NULL;
    if (l->end - s > 1 && *s == '.' && digit(s[1])) s = digits(s + 1, l->end);
    if (s < l->end && (*s | 32) == 'e') {
        const char *e = s + 1 + (l->end - s > 1 && (s[1] == '+' || s[1] == '-'));
        if (e < l->end && digit(*e)) s = digits(e, l->end);
    }
    return s > whole ? s : NULL;
}

static void number(struct lexer *l, bool after_point)
{
    const char *s = l->at, *real = float_end(l, after_point), *to = real;
    int base = 10;
    char kind = l->end - s > 2 ? s[1] | 32 : 0;
    if (!real && *s == '0' && (kind == 'x' || kind == 'o' || kind == 'b')) {
        base = kind == 'x' ? 16 : kind == 'o' ? 8 : 2;
        for (to = s + 2; to < l->end && (digit(*to) || letter(*to)); to++) {
        }
    } else if (!real) {
        to = digits(s, l->end);
    }
    char text[80], *end;
    size_t n = 0;
    for (const char *p = s + (base == 10 ? 0 : 2); p < to && n < sizeof text - 1; p++)
        if (*p != '_') text[n++] = *p;
    text[n] = 0;
    errno = 0;
    sf_jvalue v = real ? sf_jinja_float(strtod(text, &end)) : sf_jinja_int(strtoll(text, &end, base));
    if (*end || n == 0 || (!real && errno) || (base == 10 && !real && n > 1 && *s == '0'))
        sf_jinja_fail(l->r, SF_UNSUPPORTED, "the number %.*s", (int)(to - s < 60 ? to - s : 60), s);
    add(l, (sf_jtoken){.kind = real ? SF_J_T_FLOAT : SF_J_T_INT, .value = v});
    l->at = to;
}

static void name(struct lexer *l)
{
    const char *s = l->at;
    while (s < l->end && (letter(*s) || digit(*s))) s++;
    size_t n = (size_t)(s - l->at);
    char *copy = sf_jinja_take(l->r, n + 1);
    if (!copy) return;
    memcpy(copy, l->at, n);
    add(l, (sf_jtoken){.kind = SF_J_T_NAME, .name = copy});
    l->at = s;
}

static void sign(struct lexer *l)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    sf_jtoken t = {.kind = SF_J_T_SIGN, .sign = {*l->at}};
    for (size_t i = 0; i < sizeof two / sizeof *two && l->end - l->at > 1; i++)
        if (!memcmp(l->at, two[i], 2)) t.sign[1] = l->at[1];
    char c = t.sign[0];
    if (!t.sign[1] && (!c || !strchr("+-/*%~[](){}><=.:|,;", c))) {
        if ((unsigned char)c >= 0x80)
            sf_jinja_fail(l->r, SF_UNSUPPORTED, "a name with letters beyond ASCII");
        else
            sf_jinja_fail(l->r, SF_BAD_INPUT, "the character '%c' (%d)", c >= ' ' ? c : '?', c);
        return;
    }
    if (c == '(' || c == '[' || c == '{') {
        if (l->opened == DEEPEST_BRACKETS) {
            sf_jinja_fail(l->r, SF_UNSUPPORTED, "more than %d brackets inside each other", DEEPEST_BRACKETS);
            return;
        }
        l->open[l->opened++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!l->opened || l->open[--l->opened] != c) {
            sf_jinja_fail(l->r, SF_BAD_INPUT, "a '%c' that closes nothing", c);
            return;
        }
    }
    add(l, t);
    l->at += t.sign[1] ? 2 : 1;
}

/* Whether the tag ends here, and its sign: an end counts only outside of brackets. */
static bool ends_here(const struct lexer *l, char shut, char *sign)
{
    const char *s = l->at;
    *sign = l->end - s > 2 && (*s == '-' || (*s == '+' && shut == '%')) ? *s++ : 0;
    return !l->opened && l->end - s >= 2 && s[0] == shut && s[1] == '}';
}

/* A tag, from behind its opening to its end. shut: '%' or '}'. */
static void tag(struct lexer *l, char shut)
{
    char mark = 0;
    for (;;) {
        if (l->r->status != SF_OK) return;
        const char *s = skip_space(l->at, l->end);
        count_lines(l, l->at, s);
        l->at = s;
        if (s == l->end) {
            sf_jinja_fail(l->r, SF_BAD_INPUT, "{%c without %c}", shut == '}' ? '{' : '%', shut);
            return;
        }
        if (ends_here(l, shut, &mark)) break;
        bool after_point = l->tokens && l->token[l->tokens - 1].sign[0] == '.' && s[-1] == '.';
        if (digit(*s))
            number(l, after_point);
        else if (letter(*s))
            name(l);
        else if (*s == '\'' || *s == '"')
            quoted(l);
        else
            sign(l);
    }
    add(l, (sf_jtoken){.kind = shut == '%' ? SF_J_T_END : SF_J_T_PRINT_END});
    leave(l, l->at + 2 + (mark != 0), mark, shut == '%');
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static const char *find_tag(const struct lexer *l)
{
    for (const char *s = l->at; l->end - s >= 2; s++)
        if (s[0] == '{' && (s[1] == '{' || s[1] == '%' || s[1] == '#')) return s;
    return l->end;
}

static void root(struct lexer *l)
{
    const char *begin = find_tag(l);
    if (begin == l->end) {
        data(l, begin, '+', false);
        l->at = begin;
        return;
    }
    char kind = begin[1], sign = l->end - begin > 2 && (begin[2] == '-' || begin[2] == '+') ? begin[2] : 0, shut;
    const char *past;
    data(l, begin, sign, kind != '{');
    l->at = begin + 2 + (sign != 0);
    if (kind == '#') {
        comment(l);
    } else if (kind == '%' && lone_word(l, l->at, "raw", &past, &shut) && shut != '+') {
        count_lines(l, l->at, past);
        leave(l, past, shut, false);
        raw(l);
    } else {
        add(l, (sf_jtoken){.kind = kind == '%' ? SF_J_T_BEGIN : SF_J_T_PRINT});
        tag(l, kind == '%' ? '%' : '}');
    }
}

/* The text with every line's end as "\n", and without the last one. */
static char *normalised(sf_jrun *r, const char *text, size_t *bytes)
{
    char *copy = sf_jinja_take(r, *bytes + 1);
    size_t n = 0;
    for (size_t i = 0; copy && i < *bytes; i++) {
        copy[n++] = text[i] == '\r' ? '\n' : text[i];
        if (text[i] == '\r' && i + 1 < *bytes && text[i + 1] == '\n') i++;
    }
    if (n && copy[n - 1] == '\n') n--;
    *bytes = n;
    return copy;
}

void sf_jinja_lex(sf_jrun *r, const char *text, size_t bytes, sf_jtoken **tokens)
{
    *tokens = NULL;
    const char *copy = normalised(r, text, &bytes);
    struct lexer l = {.r = r, .at = copy, .end = copy ? copy + bytes : NULL, .line_starts = true};
    r->line = 1;
    while (r->status == SF_OK && l.at < l.end) root(&l);
    add(&l, (sf_jtoken){.kind = SF_J_T_EOF});
    *tokens = l.token;
}
