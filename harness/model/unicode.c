#include "harness/model/unicode.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* General categories, and two sorts of runs that save room: capital and small letters in turn. */
enum {
    CN, LU, LL, LT, LM, LO, MN, MC, ME, ND, NL, NO, PC, PD, PS, PE, PI, PF, PO, SM, SC, SK, SO, ZS, ZL, ZP, CC, CF, CS, CO,
    CATEGORIES, LU_LL = CATEGORIES, LL_LU
};

#include "harness/model/unicode_tables.h"

enum { RUNS = sizeof RUN / sizeof *RUN, END = 0x110000 };

static int category_of(uint32_t c)
{
    size_t low = 0, high = RUNS; /* RUN[low].first <= c < RUN[high].first */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (RUN[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    int category = RUN[low].category;
    if (category < CATEGORIES) return category;
    return (category == LU_LL) == ((c - RUN[low].first) % 2 == 0) ? LU : LL;
}

static bool is_in(const sf_range *range, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (range[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && range[low].first <= c;
}

/* ---- properties ------------------------------------------------------------------------------------------------ */

#define BIT(category) (1u << (category))
#define LETTER        (BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO))
#define MARK          (BIT(MN) | BIT(MC) | BIT(ME))
#define NUMBER        (BIT(ND) | BIT(NL) | BIT(NO))
#define PUNCTUATION   (BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO))
#define SYMBOL        (BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO))
#define SEPARATOR     (BIT(ZS) | BIT(ZL) | BIT(ZP))
#define ALPHABETIC    (LETTER | BIT(NL))
#define GRAPH         (LETTER | MARK | NUMBER | PUNCTUATION | SYMBOL | BIT(CF) | BIT(CO))
#define EVERYTHING    (BIT(CATEGORIES) - 1)

static const sf_range NEWLINE[] = {{'\n', '\n'}}, TAB[] = {{'\t', '\t'}}, ASCII[] = {{0, 0x7f}};
static const sf_range CONTROL_SPACE[] = {{'\t', '\r'}, {0x85, 0x85}}; /* White_Space that is no separator */
static const sf_range HEX[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};

#define TABLE(t)  .more = t, .n_more = sizeof t / sizeof *t
#define SCRIPT(t) 0, TABLE(SCRIPT_##t)

/* Characters of some categories, and more. The names are Oniguruma's; without \p{word}, which is \w in some of its versions
 * and [\w], less six characters, in others. */
static const struct property {
    const char *names; /* each between blanks */
    uint32_t categories;
    const sf_range *more;
    size_t n_more;
} PROPERTIES[] = {
    [SF_CLASS_NEWLINE] = {" newline ", 0, TABLE(NEWLINE)},
    [SF_CLASS_ALPHA] = {" alpha alphabetic ", ALPHABETIC, TABLE(OTHER_ALPHABETIC)},
    [SF_CLASS_BLANK] = {" blank ", BIT(ZS), TABLE(TAB)},
    [SF_CLASS_CNTRL] = {" cntrl cc control ", BIT(CC)},
    [SF_CLASS_DIGIT] = {" digit nd decimalnumber ", BIT(ND)},
    [SF_CLASS_GRAPH] = {" graph ", GRAPH},
    [SF_CLASS_LOWER] = {" lower lowercase ", BIT(LL), TABLE(OTHER_LOWERCASE)},
    [SF_CLASS_PRINT] = {" print ", GRAPH | BIT(ZS)},
    [SF_CLASS_PUNCT] = {" posixpunct ", PUNCTUATION | SYMBOL},
    [SF_CLASS_SPACE] = {" space whitespace wspace ", SEPARATOR, TABLE(CONTROL_SPACE)},
    [SF_CLASS_UPPER] = {" upper uppercase ", BIT(LU), TABLE(OTHER_UPPERCASE)},
    [SF_CLASS_XDIGIT] = {" xdigit ", 0, TABLE(HEX)},
    [SF_CLASS_WORD] = {"", ALPHABETIC | MARK | BIT(ND) | BIT(PC), TABLE(OTHER_ALPHABETIC)},
    [SF_CLASS_ALNUM] = {" alnum ", ALPHABETIC | BIT(ND), TABLE(OTHER_ALPHABETIC)},
    [SF_CLASS_ASCII] = {" ascii ", 0, TABLE(ASCII)},
    {" any ", EVERYTHING},
    {" assigned ", EVERYTHING & ~BIT(CN)},
    {" l letter ", LETTER},
    {" lc casedletter ", BIT(LU) | BIT(LL) | BIT(LT)},
    {" lu uppercaseletter ", BIT(LU)},
    {" ll lowercaseletter ", BIT(LL)},
    {" lt titlecaseletter ", BIT(LT)},
    {" lm modifierletter ", BIT(LM)},
    {" lo otherletter ", BIT(LO)},
    {" m mark combiningmark ", MARK},
    {" mn nonspacingmark ", BIT(MN)},
    {" mc spacingmark ", BIT(MC)},
    {" me enclosingmark ", BIT(ME)},
    {" n number ", NUMBER},
    {" nl letternumber ", BIT(NL)},
    {" no othernumber ", BIT(NO)},
    {" p punct punctuation ", PUNCTUATION},
    {" pc connectorpunctuation ", BIT(PC)},
    {" pd dashpunctuation ", BIT(PD)},
    {" ps openpunctuation ", BIT(PS)},
    {" pe closepunctuation ", BIT(PE)},
    {" pi initialpunctuation ", BIT(PI)},
    {" pf finalpunctuation ", BIT(PF)},
    {" po otherpunctuation ", BIT(PO)},
    {" s symbol ", SYMBOL},
    {" sm mathsymbol ", BIT(SM)},
    {" sc currencysymbol ", BIT(SC)},
    {" sk modifiersymbol ", BIT(SK)},
    {" so othersymbol ", BIT(SO)},
    {" z separator ", SEPARATOR},
    {" zs spaceseparator ", BIT(ZS)},
    {" zl lineseparator ", BIT(ZL)},
    {" zp paragraphseparator ", BIT(ZP)},
    {" c other ", BIT(CN) | BIT(CC) | BIT(CF) | BIT(CS) | BIT(CO)},
    {" cn unassigned ", BIT(CN)},
    {" cf format ", BIT(CF)},
    {" cs surrogate ", BIT(CS)},
    {" co privateuse ", BIT(CO)},
    {" arabic arab ", SCRIPT(ARABIC)},
    {" armenian armn ", SCRIPT(ARMENIAN)},
    {" bengali beng ", SCRIPT(BENGALI)},
    {" bopomofo bopo ", SCRIPT(BOPOMOFO)},
    {" cyrillic cyrl ", SCRIPT(CYRILLIC)},
    {" devanagari deva ", SCRIPT(DEVANAGARI)},
    {" georgian geor ", SCRIPT(GEORGIAN)},
    {" greek grek ", SCRIPT(GREEK)},
    {" gujarati gujr ", SCRIPT(GUJARATI)},
    {" gurmukhi guru ", SCRIPT(GURMUKHI)},
    {" han hani ", SCRIPT(HAN)},
    {" hangul hang ", SCRIPT(HANGUL)},
    {" hebrew hebr ", SCRIPT(HEBREW)},
    {" hiragana hira ", SCRIPT(HIRAGANA)},
    {" kannada knda ", SCRIPT(KANNADA)},
    {" katakana kana ", SCRIPT(KATAKANA)},
    {" khmer khmr ", SCRIPT(KHMER)},
    {" lao laoo ", SCRIPT(LAO)},
    {" latin latn ", SCRIPT(LATIN)},
    {" malayalam mlym ", SCRIPT(MALAYALAM)},
    {" myanmar mymr ", SCRIPT(MYANMAR)},
    {" sinhala sinh ", SCRIPT(SINHALA)},
    {" tamil taml ", SCRIPT(TAMIL)},
    {" telugu telu ", SCRIPT(TELUGU)},
    {" thai ", SCRIPT(THAI)},
    {" tibetan tibt ", SCRIPT(TIBETAN)},
};
enum { N_PROPERTIES = sizeof PROPERTIES / sizeof *PROPERTIES };

int sf_property_find(const char *name, size_t bytes)
{
    char plain[32] = " ";
    size_t n = 1;
    for (size_t i = 0; i < bytes; i++) {
        char c = name[i];
        if (c == ' ' || c == '-' || c == '_') continue;
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (n + 2 >= sizeof plain || (unsigned char)c >= 0x80) return -1;
        plain[n++] = c;
    }
    plain[n++] = ' ';
    plain[n] = 0;
    for (int i = 0; n > 2 && i < N_PROPERTIES; i++)
        if (strstr(PROPERTIES[i].names, plain)) return i;
    return -1;
}

/* Appends first…last to ranges that end before it; grows nothing, `to` has room. */
static void append(uint32_t *to, uint32_t first, uint32_t last)
{
    uint32_t n = to[0];
    if (n && to[2 * n] + 1 >= first) {
        if (last > to[2 * n]) to[2 * n] = last;
        return;
    }
    to[2 * n + 1] = first;
    to[2 * n + 2] = last;
    to[0] = n + 1;
}

static void add_run(const struct property *p, size_t i, uint32_t *to)
{
    uint32_t first = RUN[i].first, last = (i + 1 < RUNS ? RUN[i + 1].first : END) - 1;
    int category = RUN[i].category;
    if (category < CATEGORIES) {
        if (p->categories >> category & 1) append(to, first, last);
        return;
    }
    for (uint32_t c = first; c <= last; c++)
        if (p->categories >> category_of(c) & 1) append(to, c, c);
}

/* Merges the runs of its categories with the ranges of `more`. Neither overlaps the other, as both are ascending. */
static uint32_t *ranges_of(const struct property *p)
{
    size_t room = p->n_more;
    for (size_t i = 0; i < RUNS; i++)
        room += RUN[i].category < CATEGORIES ? 1 : (i + 1 < RUNS ? RUN[i + 1].first : END) - RUN[i].first;
    uint32_t *to = malloc((2 * room + 1) * sizeof *to), *fit;
    if (!to) return NULL;
    to[0] = 0;
    size_t k = 0;
    for (size_t i = 0; i < RUNS; i++) {
        for (; k < p->n_more && p->more[k].first < RUN[i].first; k++) append(to, p->more[k].first, p->more[k].last);
        add_run(p, i, to);
    }
    for (; k < p->n_more; k++) append(to, p->more[k].first, p->more[k].last);
    fit = realloc(to, (2 * (size_t)to[0] + 1) * sizeof *to);
    return fit ? fit : to;
}

const uint32_t *sf_property_ranges(int property)
{
    static _Atomic(uint32_t *) made[N_PROPERTIES];
    uint32_t *ranges = atomic_load(&made[property]), *other = NULL;
    if (ranges || !(ranges = ranges_of(&PROPERTIES[property]))) return ranges;
    if (atomic_compare_exchange_strong(&made[property], &other, ranges)) return ranges;
    free(ranges); /* another thread was first */
    return other;
}

/* ---- single characters ------------------------------------------------------------------------------------------- */

static bool is_of(int property, uint32_t c)
{
    const struct property *p = &PROPERTIES[property];
    return p->categories >> category_of(c) & 1 || is_in(p->more, p->n_more, c);
}

bool sf_is_white_space(uint32_t c) { return is_of(SF_CLASS_SPACE, c); }

bool sf_is_word(uint32_t c) { return is_of(SF_CLASS_WORD, c) || c == 0x200c || c == 0x200d; }

bool sf_is_never_normalised(uint32_t c)
{
    return category_of(c) == CN || is_in(NOT_NORMALISED, sizeof NOT_NORMALISED / sizeof *NOT_NORMALISED, c);
}
