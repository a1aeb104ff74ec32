/* Texts as Python's str: characters are code points, stored as UTF-8. Marks go wherever their bytes go. */
#include "harness/model/jinja_parts.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- characters ------------------------------------------------------------------------------------------------ */

/* Texts are valid UTF-8 where they come from a template; what a caller gives may not be: any byte then passes for a
 * letter. */
int sf_jinja_letter(const char *s, size_t bytes)
{
    unsigned char c = bytes ? (unsigned char)*s : 0;
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return bytes ? (int)(n < bytes ? n : bytes) : 0;
}

int32_t sf_jinja_point(const char *s, size_t bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    int n = sf_jinja_letter(s, bytes);
    if (n <= 1) return n ? u[0] : -1;
    int32_t c = u[0] & (0xff >> (n + 1));
    for (int i = 1; i < n; i++) c = c << 6 | (u[i] & 63);
    return c;
}

size_t sf_jinja_letters(sf_jvalue v)
{
    size_t n = 0;
    for (size_t i = 0; i < v.text.bytes; i += (size_t)sf_jinja_letter(v.text.at + i, v.text.bytes - i)) n++;
    return n;
}

size_t sf_jinja_byte_of(sf_jvalue text, int64_t i)
{
    size_t at = 0;
    while (i-- > 0 && at < text.text.bytes) at += (size_t)sf_jinja_letter(text.text.at + at, text.text.bytes - at);
    return at;
}

bool sf_jinja_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* The character that ends at `end`. */
static size_t letter_before(const char *s, size_t end)
{
    size_t n = 1;
    while (n < 4 && n < end && ((unsigned char)s[end - n] & 0xc0) == 0x80) n++;
    return (size_t)sf_jinja_letter(s + end - n, n) == n ? n : 1;
}

sf_jvalue sf_jinja_part(sf_jvalue text, size_t from, size_t to)
{
    sf_jvalue v = sf_jinja_text(text.text.at + from, to - from);
    if (text.text.mark) v.text.mark = text.text.mark + from;
    return v;
}

const char *sf_jinja_search(sf_jrun *r, sf_jvalue text, size_t from, sf_jvalue part)
{
    if (from > text.text.bytes || r->status != SF_OK) return NULL;
    const char *begin = text.text.at + from, *end = text.text.at + text.text.bytes;
    if (!part.text.bytes) return begin;
    const char *found = memmem(begin, text.text.bytes - from, part.text.at, part.text.bytes);
    return sf_jinja_step(r, 1 + (size_t)((found ? found : end) - begin) / 64) ? found : NULL;
}

/* ---- buffers --------------------------------------------------------------------------------------------------- */

static bool make_room(sf_jrun *r, sf_jbuffer *b, size_t bytes)
{
    if (b->room - b->bytes >= bytes) return true;
    size_t room = 2 * b->room > b->bytes + bytes ? 2 * b->room : b->bytes + bytes + 32;
    char *more = sf_jinja_take(r, room);
    uint8_t *marks = b->mark ? sf_jinja_take(r, room) : NULL;
    if (!more || (b->mark && !marks)) return false;
    if (b->bytes) memcpy(more, b->at, b->bytes);
    if (b->bytes && marks) memcpy(marks, b->mark, b->bytes);
    b->at = more;
    b->mark = marks;
    b->room = room;
    return true;
}

void sf_jinja_put(sf_jrun *r, sf_jbuffer *b, const char *s, size_t bytes, const uint8_t *mark)
{
    if (!bytes || !make_room(r, b, bytes) || !sf_jinja_step(r, bytes / 64)) return;
    if (mark && !b->mark && !(b->mark = sf_jinja_take(r, b->room))) return;
    memcpy(b->at + b->bytes, s, bytes);
    if (mark) memcpy(b->mark + b->bytes, mark, bytes);
    b->bytes += bytes; /* marks that nobody sets are 0: memory comes zeroed */
}

void sf_jinja_put_text(sf_jrun *r, sf_jbuffer *b, sf_jvalue v)
{
    sf_jinja_put(r, b, v.text.at, v.text.bytes, v.text.mark);
}

void sf_jinja_put_word(sf_jrun *r, sf_jbuffer *b, const char *word) { sf_jinja_put(r, b, word, strlen(word), NULL); }

void sf_jinja_put_like(sf_jrun *r, sf_jbuffer *b, const char *word, size_t bytes, bool marked)
{
    static const uint8_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    sf_jinja_put(r, b, word, bytes < sizeof ones ? bytes : sizeof ones, marked ? ones : NULL);
}

sf_jvalue sf_jinja_made(const sf_jbuffer *b)
{
    sf_jvalue v = sf_jinja_text(b->bytes ? b->at : "", b->bytes);
    v.text.mark = b->mark;
    return v;
}

/* ---- cutting --------------------------------------------------------------------------------------------------- */

static bool strips(sf_jrun *r, const char *s, size_t n, const sf_jvalue *letters)
{
    if (!letters) return sf_jinja_space(sf_jinja_point(s, n));
    return sf_jinja_search(r, *letters, 0, sf_jinja_text(s, n)) != NULL;
}

sf_jvalue sf_jinja_strip(sf_jrun *r, sf_jvalue v, const sf_jvalue *letters, int sides)
{
    size_t from = 0, to = v.text.bytes, n;
    while (sides & SF_J_LEFT && from < to && sf_jinja_step(r, 1)) {
        n = (size_t)sf_jinja_letter(v.text.at + from, to - from);
        if (!strips(r, v.text.at + from, n, letters)) break;
        from += n;
    }
    while (sides & SF_J_RIGHT && from < to && sf_jinja_step(r, 1)) {
        n = letter_before(v.text.at, to);
        if (!strips(r, v.text.at + to - n, n, letters)) break;
        to -= n;
    }
    sf_jvalue rest = sf_jinja_part(v, from, to);
    rest.safe = v.safe;
    return rest;
}

static void turn(sf_jlist *l)
{
    for (size_t i = 0, k = l ? l->items : 0; i + 1 < k; i++) {
        sf_jvalue v = l->item[i];
        l->item[i] = l->item[--k];
        l->item[k] = v;
    }
}

static sf_jlist *split_at_space(sf_jrun *r, sf_jvalue v, int64_t most, bool from_right)
{
    sf_jlist *l = sf_jinja_list(r, 0);
    size_t from = 0, to = v.text.bytes, n;
    while (r->status == SF_OK) {
        sf_jvalue rest = sf_jinja_strip(r, sf_jinja_part(v, from, to), NULL, from_right ? SF_J_RIGHT : SF_J_LEFT);
        from = (size_t)(rest.text.at - v.text.at);
        to = from + rest.text.bytes;
        if (!rest.text.bytes) break;
        if (most >= 0 && l && (int64_t)l->items >= most) {
            sf_jinja_append(r, l, rest);
            break;
        }
        size_t at = from_right ? to : from;
        while (from_right ? at > from : at < to) {
            n = from_right ? letter_before(v.text.at, at) : (size_t)sf_jinja_letter(v.text.at + at, to - at);
            if (strips(r, v.text.at + (from_right ? at - n : at), n, NULL)) break;
            at = from_right ? at - n : at + n;
        }
        sf_jinja_step(r, 1 + (from_right ? to - at : at - from) / 16);
        sf_jinja_append(r, l, from_right ? sf_jinja_part(v, at, to) : sf_jinja_part(v, from, at));
        if (from_right)
            to = at;
        else
            from = at;
    }
    if (from_right) turn(l);
    return l;
}

static const char *search_last(sf_jrun *r, sf_jvalue v, size_t end, sf_jvalue part)
{
    if (part.text.bytes > end) return NULL;
    for (size_t at = end - part.text.bytes + 1; at-- > 0 && sf_jinja_step(r, 1);)
        if (!memcmp(v.text.at + at, part.text.at, part.text.bytes)) return v.text.at + at;
    return NULL;
}

sf_jlist *sf_jinja_split(sf_jrun *r, sf_jvalue v, const sf_jvalue *by, int64_t most, bool from_right)
{
    if (!by) return split_at_space(r, v, most, from_right);
    sf_jlist *l = sf_jinja_list(r, 0);
    if (!by->text.bytes) {
        sf_jinja_fail(r, SF_BAD_INPUT, "split() by an empty text");
        return l;
    }
    size_t from = 0, to = v.text.bytes;
    while (r->status == SF_OK && (most < 0 || most-- > 0)) {
        const char *found = from_right ? search_last(r, v, to, *by) : sf_jinja_search(r, v, from, *by);
        if (!found) break;
        size_t at = (size_t)(found - v.text.at);
        sf_jinja_append(r, l, from_right ? sf_jinja_part(v, at + by->text.bytes, to) : sf_jinja_part(v, from, at));
        if (from_right)
            to = at;
        else
            from = at + by->text.bytes;
    }
    sf_jinja_append(r, l, sf_jinja_part(v, from, to));
    if (from_right) turn(l);
    return l;
}

static bool ends_line(int32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

sf_jlist *sf_jinja_lines(sf_jrun *r, sf_jvalue v, bool keep_ends)
{
    sf_jlist *l = sf_jinja_list(r, 0);
    size_t from = 0;
    for (size_t at = 0, n; at < v.text.bytes && sf_jinja_step(r, 1); at += n) {
        n = (size_t)sf_jinja_letter(v.text.at + at, v.text.bytes - at);
        if (!ends_line(sf_jinja_point(v.text.at + at, n))) continue;
        if (v.text.at[at] == '\r' && at + 1 < v.text.bytes && v.text.at[at + 1] == '\n') n++;
        sf_jinja_append(r, l, sf_jinja_part(v, from, keep_ends ? at + n : at));
        from = at + n;
    }
    if (from < v.text.bytes) sf_jinja_append(r, l, sf_jinja_part(v, from, v.text.bytes));
    return l;
}

/* ---- putting together ------------------------------------------------------------------------------------------ */

sf_jvalue sf_jinja_replace(sf_jrun *r, sf_jvalue v, sf_jvalue from, sf_jvalue to, int64_t most)
{
    sf_jbuffer b = {0};
    size_t at = 0;
    while (r->status == SF_OK && (most < 0 || most-- > 0)) {
        const char *found = sf_jinja_search(r, v, at, from);
        if (!found) break;
        size_t here = (size_t)(found - v.text.at);
        sf_jinja_put_text(r, &b, sf_jinja_part(v, at, here));
        sf_jinja_put_text(r, &b, to);
        at = here + from.text.bytes;
        if (from.text.bytes) continue;
        if (at == v.text.bytes) return sf_jinja_made(&b); /* an empty text stands between all letters */
        size_t n = (size_t)sf_jinja_letter(v.text.at + at, v.text.bytes - at);
        sf_jinja_put_text(r, &b, sf_jinja_part(v, at, at + n));
        at += n;
    }
    sf_jinja_put_text(r, &b, sf_jinja_part(v, at, v.text.bytes));
    return sf_jinja_made(&b);
}

sf_jvalue sf_jinja_join(sf_jrun *r, sf_jvalue by, const sf_jlist *items)
{
    sf_jbuffer b = {0};
    for (size_t i = 0; i < items->items && r->status == SF_OK; i++) {
        if (i) sf_jinja_put_text(r, &b, by);
        sf_jinja_put_text(r, &b, sf_jinja_str(r, items->item[i]));
    }
    return sf_jinja_made(&b);
}

/* What `escape` gives, and what is joined with a text that is marked as safe. */
sf_jvalue sf_jinja_escape(sf_jrun *r, sf_jvalue v)
{
    static const struct {
        char letter;
        const char *escaped;
    } rows[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    for (size_t i = 0; !v.safe && i < sizeof rows / sizeof *rows; i++)
        v = sf_jinja_replace(r, v, sf_jinja_text(&rows[i].letter, 1),
                             sf_jinja_text(rows[i].escaped, strlen(rows[i].escaped)), -1);
    v.safe = true;
    return v;
}

/* ---- cases ----------------------------------------------------------------------------------------------------- */

/* Letters whose other case is several letters, or depends on what stands around them, or on which the versions of
 * Unicode differ: a table of single letters does not have them. */
static bool special_case(int32_t c)
{
    static const struct {
        int32_t from, to;
    } special[] = {{0xdf, 0xdf},       {0x130, 0x131},    {0x149, 0x149},   {0x1c4, 0x1cc},   {0x1f0, 0x1f3},
                   {0x345, 0x345},     {0x390, 0x390},    {0x3a3, 0x3a3},   {0x3b0, 0x3b0},   {0x3c2, 0x3c2},
                   {0x587, 0x587},     {0x10a0, 0x10ff},  {0x13a0, 0x13ff}, {0x1c80, 0x1cbf}, {0x1e96, 0x1e9e},
                   {0x1f00, 0x1fff},   {0xa7ae, 0xa7ff},  {0xab30, 0xabbf}, {0xfb00, 0xfb17}, {0x10570, 0x105bc},
                   {0x16e40, 0x16e7f}, {0x1e900, 0x1e943}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (c >= special[i].from && c <= special[i].to) return true;
    return false;
}

static bool is_cased(int32_t c) { return utf8proc_toupper(c) != c || utf8proc_tolower(c) != c; }

sf_jvalue sf_jinja_cased(sf_jrun *r, sf_jvalue v, sf_jcase how)
{
    sf_jbuffer b = {0};
    bool inside = false; /* of a word, or behind the first letter */
    for (size_t at = 0, n; at < v.text.bytes && sf_jinja_step(r, 1); at += n) {
        n = (size_t)sf_jinja_letter(v.text.at + at, v.text.bytes - at);
        int32_t c = sf_jinja_point(v.text.at + at, n);
        if (c >= 0x80 && special_case(c)) {
            sf_jinja_fail(r, SF_UNSUPPORTED, "the other case of the letter U+%04X", (unsigned)c);
            break;
        }
        bool up = how == SF_J_UPPER || (how == SF_J_SWAPCASE && utf8proc_tolower(c) == c) ||
                  ((how == SF_J_TITLE || how == SF_J_CAPITALIZE) && !inside);
        utf8proc_uint8_t letter[4];
        utf8proc_ssize_t bytes = utf8proc_encode_char(up ? utf8proc_toupper(c) : utf8proc_tolower(c), letter);
        sf_jinja_put_like(r, &b, (const char *)letter, (size_t)bytes, v.text.mark && v.text.mark[at]);
        inside = how == SF_J_TITLE ? is_cased(c) : true;
    }
    sf_jvalue made = sf_jinja_made(&b);
    made.safe = v.safe;
    return made;
}

/* ---- repr() ---------------------------------------------------------------------------------------------------- */

static bool printable(int32_t c)
{
    if (c < 0x7f) return c >= ' ';
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

void sf_jinja_put_repr(sf_jrun *r, sf_jbuffer *b, sf_jvalue v)
{
    bool single = v.text.bytes && memchr(v.text.at, '\'', v.text.bytes);
    char quote = single && !memchr(v.text.at, '"', v.text.bytes) ? '"' : '\'';
    sf_jinja_put(r, b, &quote, 1, NULL);
    for (size_t at = 0, n; at < v.text.bytes && sf_jinja_step(r, 1); at += n) {
        n = (size_t)sf_jinja_letter(v.text.at + at, v.text.bytes - at);
        int32_t c = sf_jinja_point(v.text.at + at, n);
        char escape[16];
        if (c == quote || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (printable(c))
            snprintf(escape, sizeof escape, "%.*s", (int)n, v.text.at + at);
        else
            snprintf(escape, sizeof escape, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        sf_jinja_put_like(r, b, escape, strlen(escape), v.text.mark && v.text.mark[at]);
    }
    sf_jinja_put(r, b, &quote, 1, NULL);
}
