#include "tasks/unicode.h"

#include <stddef.h>

#include <utf8proc.h>

enum { CAPITAL_SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2, DOTTED_I = 0x130, DOT_ABOVE = 0x307 };

int sf_code_point(const char *at, const char *end, int *length)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &c);
    *length = n > 0 ? (int)n : 1;
    return n > 0 ? c : -1;
}

bool sf_is_space(int c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool sf_is_alphanumeric(int c)
{
    utf8proc_category_t category = c < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

/* Decimal digits stand in rows of ten, apart from each other, the mathematical ones aside. */
int sf_digit(int c)
{
    if (c < 0 || utf8proc_category(c) != UTF8PROC_CATEGORY_ND) return -1;
    if (c >= 0x1d7ce && c <= 0x1d7ff) return (c - 0x1d7ce) % 10;
    int digit = 0;
    while (digit < 9 && utf8proc_category(c - digit - 1) == UTF8PROC_CATEGORY_ND) digit++;
    return digit;
}

/* ---- letter case ------------------------------------------------------------------------------------------------- */

/* What becomes several letters in capitals (Unicode's SpecialCasing, unconditional). Sorted. */
static const struct special {
    int from, to[3];
} specials[] = {
    {0x00df, {0x0053, 0x0053}}, {0x0149, {0x02bc, 0x004e}}, {0x01f0, {0x004a, 0x030c}},
    {0x0390, {0x0399, 0x0308, 0x0301}}, {0x03b0, {0x03a5, 0x0308, 0x0301}}, {0x0587, {0x0535, 0x0552}},
    {0x1e96, {0x0048, 0x0331}}, {0x1e97, {0x0054, 0x0308}}, {0x1e98, {0x0057, 0x030a}}, {0x1e99, {0x0059, 0x030a}},
    {0x1e9a, {0x0041, 0x02be}}, {0x1f50, {0x03a5, 0x0313}}, {0x1f52, {0x03a5, 0x0313, 0x0300}},
    {0x1f54, {0x03a5, 0x0313, 0x0301}}, {0x1f56, {0x03a5, 0x0313, 0x0342}}, {0x1f80, {0x1f08, 0x0399}},
    {0x1f81, {0x1f09, 0x0399}}, {0x1f82, {0x1f0a, 0x0399}}, {0x1f83, {0x1f0b, 0x0399}}, {0x1f84, {0x1f0c, 0x0399}},
    {0x1f85, {0x1f0d, 0x0399}}, {0x1f86, {0x1f0e, 0x0399}}, {0x1f87, {0x1f0f, 0x0399}}, {0x1f88, {0x1f08, 0x0399}},
    {0x1f89, {0x1f09, 0x0399}}, {0x1f8a, {0x1f0a, 0x0399}}, {0x1f8b, {0x1f0b, 0x0399}}, {0x1f8c, {0x1f0c, 0x0399}},
    {0x1f8d, {0x1f0d, 0x0399}}, {0x1f8e, {0x1f0e, 0x0399}}, {0x1f8f, {0x1f0f, 0x0399}}, {0x1f90, {0x1f28, 0x0399}},
    {0x1f91, {0x1f29, 0x0399}}, {0x1f92, {0x1f2a, 0x0399}}, {0x1f93, {0x1f2b, 0x0399}}, {0x1f94, {0x1f2c, 0x0399}},
    {0x1f95, {0x1f2d, 0x0399}}, {0x1f96, {0x1f2e, 0x0399}}, {0x1f97, {0x1f2f, 0x0399}}, {0x1f98, {0x1f28, 0x0399}},
    {0x1f99, {0x1f29, 0x0399}}, {0x1f9a, {0x1f2a, 0x0399}}, {0x1f9b, {0x1f2b, 0x0399}}, {0x1f9c, {0x1f2c, 0x0399}},
    {0x1f9d, {0x1f2d, 0x0399}}, {0x1f9e, {0x1f2e, 0x0399}}, {0x1f9f, {0x1f2f, 0x0399}}, {0x1fa0, {0x1f68, 0x0399}},
    {0x1fa1, {0x1f69, 0x0399}}, {0x1fa2, {0x1f6a, 0x0399}}, {0x1fa3, {0x1f6b, 0x0399}}, {0x1fa4, {0x1f6c, 0x0399}},
    {0x1fa5, {0x1f6d, 0x0399}}, {0x1fa6, {0x1f6e, 0x0399}}, {0x1fa7, {0x1f6f, 0x0399}}, {0x1fa8, {0x1f68, 0x0399}},
    {0x1fa9, {0x1f69, 0x0399}}, {0x1faa, {0x1f6a, 0x0399}}, {0x1fab, {0x1f6b, 0x0399}}, {0x1fac, {0x1f6c, 0x0399}},
    {0x1fad, {0x1f6d, 0x0399}}, {0x1fae, {0x1f6e, 0x0399}}, {0x1faf, {0x1f6f, 0x0399}}, {0x1fb2, {0x1fba, 0x0399}},
    {0x1fb3, {0x0391, 0x0399}}, {0x1fb4, {0x0386, 0x0399}}, {0x1fb6, {0x0391, 0x0342}},
    {0x1fb7, {0x0391, 0x0342, 0x0399}}, {0x1fbc, {0x0391, 0x0399}}, {0x1fc2, {0x1fca, 0x0399}},
    {0x1fc3, {0x0397, 0x0399}}, {0x1fc4, {0x0389, 0x0399}}, {0x1fc6, {0x0397, 0x0342}},
    {0x1fc7, {0x0397, 0x0342, 0x0399}}, {0x1fcc, {0x0397, 0x0399}}, {0x1fd2, {0x0399, 0x0308, 0x0300}},
    {0x1fd3, {0x0399, 0x0308, 0x0301}}, {0x1fd6, {0x0399, 0x0342}}, {0x1fd7, {0x0399, 0x0308, 0x0342}},
    {0x1fe2, {0x03a5, 0x0308, 0x0300}}, {0x1fe3, {0x03a5, 0x0308, 0x0301}}, {0x1fe4, {0x03a1, 0x0313}},
    {0x1fe6, {0x03a5, 0x0342}}, {0x1fe7, {0x03a5, 0x0308, 0x0342}}, {0x1ff2, {0x1ffa, 0x0399}},
    {0x1ff3, {0x03a9, 0x0399}}, {0x1ff4, {0x038f, 0x0399}}, {0x1ff6, {0x03a9, 0x0342}},
    {0x1ff7, {0x03a9, 0x0342, 0x0399}}, {0x1ffc, {0x03a9, 0x0399}}, {0xfb00, {0x0046, 0x0046}},
    {0xfb01, {0x0046, 0x0049}}, {0xfb02, {0x0046, 0x004c}}, {0xfb03, {0x0046, 0x0046, 0x0049}},
    {0xfb04, {0x0046, 0x0046, 0x004c}}, {0xfb05, {0x0053, 0x0054}}, {0xfb06, {0x0053, 0x0054}},
    {0xfb13, {0x0544, 0x0546}}, {0xfb14, {0x0544, 0x0535}}, {0xfb15, {0x0544, 0x053b}}, {0xfb16, {0x054e, 0x0546}},
    {0xfb17, {0x0544, 0x053d}},
};

static const struct special *find_special(int c)
{
    size_t low = 0, high = sizeof specials / sizeof *specials;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (specials[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof specials / sizeof *specials && specials[low].from == c ? &specials[low] : NULL;
}

/* Unicode's Cased: letters that have a case, and other signs that look like such. */
static bool is_cased(int c)
{
    utf8proc_category_t category = c < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT) || c == 0xaa || c == 0xba ||
           (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* Unicode's Case_Ignorable: marks, modifiers, and punctuation that stands inside words. */
static bool is_ignorable(int c)
{
    static const int inside[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                 0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    if (c < 0) return false;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (inside[i] == c) return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

static int code_point_before(const char *begin, const char *at, int *length)
{
    const char *from = at - 1;
    while (from > begin && at - from < 4 && (*from & 0xc0) == 0x80) from--;
    int c = sf_code_point(from, at, length);
    if (*length == at - from) return c;
    *length = 1; /* no UTF-8 */
    return -1;
}

/* Whether the sigma of `n` bytes at `at` ends a word: letters before it, none after it. */
static bool ends_word(sf_span text, const char *at, int n)
{
    const char *end = sf_span_end(text);
    int c = -1, step;
    for (const char *back = at; back > text.at; back -= step)
        if (!is_ignorable(c = code_point_before(text.at, back, &step))) break;
    if (!is_cased(c) || is_ignorable(c)) return false;
    for (at += n; at < end; at += step)
        if (!is_ignorable(c = sf_code_point(at, end, &step))) return !is_cased(c);
    return true;
}

static void add_code_point(sf_text *out, int c)
{
    utf8proc_uint8_t bytes[4];
    sf_text_bytes(out, (char *)bytes, (size_t)utf8proc_encode_char(c, bytes));
}

void sf_add_lower(sf_text *out, sf_span text)
{
    sf_text_add(out, "");
    int n;
    for (const char *at = text.at, *end = sf_span_end(text); at < end; at += n) {
        int c = sf_code_point(at, end, &n);
        if (c < 0) {
            sf_text_bytes(out, at, 1);
        } else if (c == CAPITAL_SIGMA && ends_word(text, at, n)) {
            add_code_point(out, FINAL_SIGMA);
        } else {
            add_code_point(out, c == DOTTED_I ? 'i' : utf8proc_tolower(c));
            if (c == DOTTED_I) add_code_point(out, DOT_ABOVE);
        }
    }
}

void sf_add_upper(sf_text *out, sf_span text)
{
    sf_text_add(out, "");
    int n;
    for (const char *at = text.at, *end = sf_span_end(text); at < end; at += n) {
        int c = sf_code_point(at, end, &n);
        const struct special *special = c < 0x80 ? NULL : find_special(c);
        if (c < 0)
            sf_text_bytes(out, at, 1);
        else if (!special)
            add_code_point(out, utf8proc_toupper(c));
        for (int i = 0; special && i < 3 && special->to[i]; i++) add_code_point(out, special->to[i]);
    }
}
