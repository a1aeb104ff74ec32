/* RULER's frequent word extraction: the three most frequent words of a text of coded words, which occur as often as a
 * zeta distribution has it: rank k of N words N · k^−α / ζ(α) times, rounded down. Rank 1 is filler, "...". */
#include <math.h>
#include <stdlib.h>

#include "tasks/random.h"
#include "tasks/ruler.h"
#include "tasks/score.h"
#include "tasks/unique.h"

enum { ASKED = 3, MOST_LETTERS = 12 };

struct params {
    double alpha;
    int letters, words;
    sf_ruler_params ruler;
};

typedef struct ruler_fwe {
    const struct params *p;
    sf_random base;
    double zeta;
    int words;                      /* of different ones, filler included */
    char (*word)[MOST_LETTERS + 1]; /* [words] by rank */
} ruler_fwe;

/* ζ(s) for s > 1: the first terms, and Euler–Maclaurin for the rest. */
static double zeta(double s)
{
    const double m = 1000;
    double sum = 0;
    for (double k = 1; k < m; k++) sum += pow(k, -s);
    return sum + pow(m, 1 - s) / (s - 1) + pow(m, -s) / 2 + s * pow(m, -s - 1) / 12;
}

static int times(const ruler_fwe *f, int rank, int total) { return (int)(total * pow(rank, -f->p->alpha) / f->zeta); }

static sf_status write(void *self, int units, sf_text *context, sf_text *question)
{
    const ruler_fwe *f = self;
    int *row = malloc(((size_t)units + 1) * sizeof *row), rows = 0;
    if (!row) return sf_fail(SF_NO_MEMORY, "ruler_fwe: no memory for %d words", units);
    for (int rank = 1; rank <= f->words; rank++)
        for (int k = times(f, rank, units); k > 0; k--) row[rows++] = rank - 1;
    sf_random r = sf_random_fork(&f->base, 2);
    sf_random_shuffle(&r, row, rows);
    for (int i = 0; i < rows; i++) {
        if (i) sf_text_char(context, ' ');
        sf_text_add(context, f->word[row[i]]);
    }
    free(row);
    if (f->p->ruler.wording) return SF_OK; /* its template asks */
    sf_text_add(
        question,
        "Question: Which are the three most frequent words in the coded text above? The dots \"...\" are no word. "
        "Give no explanation.");
    return SF_OK;
}

static sf_status draw(ruler_fwe *f)
{
    f->word = calloc((size_t)f->words, sizeof *f->word);
    if (!f->word) return sf_fail(SF_NO_MEMORY, "ruler_fwe: no memory for %d words", f->words);
    sf_random r = sf_random_fork(&f->base, 1);
    sf_unique seen = {0};
    for (int i = 0; i < f->words; i++) {
        char *word = f->word[i];
        do
            for (int k = 0; k < f->p->letters; k++) word[k] = (char)('a' + sf_random_below(&r, 26));
        while (!sf_unique_add(&seen, word, (size_t)f->p->letters));
    }
    bool failed = seen.failed;
    sf_unique_free(&seen);
    for (int k = 0; k <= MOST_LETTERS; k++) f->word[0][k] = k < 3 ? '.' : 0;
    return failed ? sf_fail(SF_NO_MEMORY, "ruler_fwe: no memory for %d words", f->words) : SF_OK;
}

static sf_status generate(const void *params, const sf_request *request, sf_sample *out)
{
    const struct params *p = params;
    if (p->words > 0 && p->words < 5)
        return sf_fail(SF_BAD_INPUT, "ruler_fwe: expected 5 or more different words, found %d", p->words);
    ruler_fwe f = {
        .p = p,
        .base = sf_random_stream("ruler_fwe", request->seed, request->index),
        .zeta = zeta(p->alpha),
        .words = p->words                        ? p->words
                 : request->max_tokens / 50 > 10 ? request->max_tokens / 50
                                                 : 10,
    };
    /* From here on ranks 4 and 5 differ by one or more, so that there is one answer. */
    sf_ruler_words words;
    SF_TRY(sf_ruler_read("ruler_fwe", &p->ruler, &request->prompting, "freq_words_extraction", NULL, NULL, &words));
    int least = (int)ceil(f.zeta / (pow(4, -p->alpha) - pow(5, -p->alpha)));
    const char *prefix = words.answer ? words.answer : "Answer: The three most frequent words are:";
    const sf_prompt prompt = {
        .task = "ruler_fwe",
        .whole = words.prompt,
        .introduction =
            "Read the following coded text and keep count of how often each coded word occurs. Afterwards you will be "
            "asked for the three most frequent ones.",
        .closing = "Answer with the three words alone, separated by commas.",
        .plain = true,
        .answer_prefix = p->ruler.answer_prefix ? prefix : NULL,
        .place = SF_QUESTION_AFTER,
    };
    const sf_content content = {.self = &f, .unit = "words to draw", .least = least, .most = 1 << 24, .write = write};
    sf_status status = words.prompt ? sf_ruler_filled("ruler_fwe", &words) : SF_OK;
    if (status == SF_OK) status = draw(&f);
    if (status == SF_OK) status = sf_prompt_fit(request, &prompt, &content, out);
    for (int i = 1; i <= ASKED && status == SF_OK; i++) status = sf_sample_gold(out, f.word[i]);
    if (status == SF_OK) status = sf_ruler_answer(out, ", ");
    if (status != SF_OK) sf_sample_free(out);
    sf_ruler_free(&words);
    free(f.word);
    return status;
}

#define FIELD(f) .name = #f, .offset = offsetof(struct params, f)
static const sf_param params[] = {
    {FIELD(alpha), .type = SF_REAL, .low = 1.2, .high = 4, .initial = 2, .doc = "exponent of the zeta distribution"},
    {FIELD(letters), .type = SF_INT, .low = 4, .high = MOST_LETTERS, .initial = 6, .doc = "letters of a coded word"},
    {FIELD(words), .type = SF_INT, .low = 0, .high = 100000, .initial = 0,
     .doc = "different words, 5 or more; 0: one for every 50 tokens of length"},
    SF_RULER_PARAMS(struct params),
    {0},
};

const sf_task sf_ruler_fwe = {
    .abi = SF_TASK_ABI,
    .name = "ruler_fwe",
    .summary = "the three most frequent words of a coded text",
    .source = SF_RULER_SOURCE,
    .metric = "string match, all",
    .version = 2,
    .output = 50,
    .high_scope = true,
    .params = params,
    .params_size = sizeof(struct params),
    .generate = generate,
    .score = sf_score_match_all,
};
