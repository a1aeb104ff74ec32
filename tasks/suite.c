#include "tasks/suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tasks/random.h"
#include "tasks/rows.h"

struct sf_suite_set {
    const sf_dataset *dataset;
    char *prompt, *document;
    int turns;                 /* of a sample */
    char *first_turn, *later;  /* where they are several: the prompts of the first and of a later one */
    const struct kept *rows;
    const sf_suite_set *demos;
};

/* ---- fields of a row ----------------------------------------------------------------------------------------------- */

sf_status sf_suite_wrong(const sf_suite_row *row, const char *what, ...)
{
    char message[400];
    va_list args;
    va_start(args, what);
    vsnprintf(message, sizeof message, what, args);
    va_end(args);
    return sf_fail(SF_BAD_INPUT, "%s:%d: row %d: %s", row->file, row->line, row->number, message);
}

static sf_status member(const sf_suite_row *row, const char *name, json_type type, const char *kind, const json_t **out)
{
    if (!json_is_object(row->json)) return sf_suite_wrong(row, "expected an object, found something else");
    *out = json_object_get(row->json, name);
    if (!*out) return sf_suite_wrong(row, "expected a member \"%s\", found none; is it a file of %s?", name, row->dataset->name);
    if (json_typeof(*out) != type) return sf_suite_wrong(row, "expected \"%s\" to be %s, found something else", name, kind);
    return SF_OK;
}

sf_status sf_suite_text(const sf_suite_row *row, const char *name, const char **out)
{
    const json_t *value = NULL;
    SF_TRY(member(row, name, JSON_STRING, "a text", &value));
    *out = json_string_value(value);
    return SF_OK;
}

sf_status sf_suite_list(const sf_suite_row *row, const char *name, const json_t **out)
{
    return member(row, name, JSON_ARRAY, "a list", out);
}

sf_status sf_suite_gold(const sf_suite_row *row, const char *name, sf_sample *out)
{
    const json_t *list;
    SF_TRY(sf_suite_list(row, name, &list));
    if (json_array_size(list) == 0) return sf_suite_wrong(row, "expected \"%s\" to hold an answer, found none", name);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) return sf_suite_wrong(row, "expected \"%s\"[%zu] to be a text, found something else", name, i);
        SF_TRY(sf_sample_gold(out, text));
    }
    return SF_OK;
}

char *sf_suite_key(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);
    char number[24];
    snprintf(number, sizeof number, "%lld", json_is_integer(value) ? (long long)json_integer_value(value) : 0);
    return json_is_integer(value) ? strdup(number) : json_is_string(value) ? strdup(json_string_value(value)) : NULL;
}

/* ---- prompts ------------------------------------------------------------------------------------------------------- */

void sf_suite_put(sf_text *out, const char *text, const char *placeholder, const char *with)
{
    for (const char *at; (at = strstr(text, placeholder)); text = at + strlen(placeholder)) {
        sf_text_bytes(out, text, (size_t)(at - text));
        sf_text_add(out, with);
    }
    sf_text_add(out, text);
}

sf_status sf_suite_file(const char *path, char **out)
{
    FILE *f = fopen(path, "rb");
    if (!f) return sf_fail(SF_IO, "%s: cannot open the suite's prompts: %s", path, strerror(errno));
    sf_text text = {0};
    char block[1 << 14];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) sf_text_bytes(&text, block, n);
    const bool whole = !ferror(f);
    fclose(f);
    if (whole && !text.failed && text.size && strlen(text.data) == text.size) return *out = text.data, SF_OK;
    const bool failed = text.failed, empty = !text.size;
    sf_text_free(&text);
    return !whole   ? sf_fail(SF_IO, "%s: cannot read the suite's prompts: %s", path, strerror(errno))
           : failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for the suite's prompts", path)
                    : sf_fail(SF_BAD_INPUT, "%s: expected the suite's prompts, found %s", path, empty ? "an empty file" : "a byte 0");
}

sf_status sf_suite_member(const char *path, const char *name, char **out)
{
    char *text;
    json_error_t error;
    SF_TRY(sf_suite_file(path, &text));
    json_t *object = json_loads(text, 0, &error);
    free(text);
    if (!object) return sf_fail(SF_BAD_INPUT, "%s:%d: expected JSON: %s", path, error.line, error.text);
    const char *prompt = json_string_value(json_object_get(object, name));
    *out = prompt ? strdup(prompt) : NULL;
    json_decref(object);
    if (prompt) return *out ? SF_OK : sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", path);
    return sf_fail(SF_BAD_INPUT, "%s: expected a prompt \"%s\", found none; is it the suite's own file?", path, name);
}

/* Appends the field that stands in braces from `at`; *at: behind them. */
static sf_status fill_field(const sf_suite_row *row, bool hooked, const char **at, sf_text *out, sf_sample *sample)
{
    char name[64];
    const size_t n = strcspn(*at, "{}");
    if ((*at)[n] != '}' || n == 0 || n >= sizeof name)
        return sf_fail(SF_BAD_INPUT, "%s: expected the name of a field between braces of its prompt, found \"{%.20s\"",
                       row->dataset->task, *at);
    memcpy(name, *at, n);
    name[n] = 0;
    *at += n + 1;
    const bool context = sample && strcmp(name, "context") == 0;
    if (context) sample->context_begin = (int)out->size;
    if (hooked && row->dataset->field) {
        SF_TRY(row->dataset->field(row, name, out));
    } else {
        const char *text;
        SF_TRY(sf_suite_text(row, name, &text));
        sf_text_add(out, text);
    }
    if (context) sample->context_end = (int)out->size;
    return SF_OK;
}

/* Appends a text with its fields filled, by the data set's hook or by the row's members. `sample` NULL: nobody asks where
 * the context stands. */
static sf_status format(const sf_suite_row *row, bool hooked, const char *text, sf_text *out, sf_sample *sample)
{
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, "{}");
        sf_text_bytes(out, at, n);
        at += n;
        if (!*at) break;
        if (at[0] == at[1]) {
            sf_text_char(out, *at);
            at += 2;
        } else if (*at++ == '{') {
            SF_TRY(fill_field(row, hooked, &at, out, sample));
        } else {
            return sf_fail(SF_BAD_INPUT, "%s: its prompt has a single '}'", row->dataset->task);
        }
    }
    return out->failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", row->dataset->task) : SF_OK;
}

/* The prompt of a row, whole, and its answers. */
static sf_status fill(const sf_suite_row *row, const char *prompt, sf_text *out, sf_sample *sample)
{
    SF_TRY(format(row, true, prompt, out, sample));
    if (!out->size) return sf_fail(SF_BAD_INPUT, "%s: its prompt is empty", row->dataset->task);
    if (row->dataset->begun) {
        const char *last = strrchr(out->data, '\n');
        sample->aside = strdup(last ? last + 1 : out->data);
        if (!sample->aside) return sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", row->dataset->task);
    }
    return row->dataset->answers(row, sample);
}

sf_status sf_suite_documents(const sf_suite_row *row, const char *name, sf_text *out)
{
    const json_t *list;
    SF_TRY(sf_suite_list(row, name, &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        sf_suite_row one = *row;
        one.json = json_array_get(list, i);
        if (i) sf_text_add(out, "\n\n");
        SF_TRY(format(&one, false, row->set->document, out, NULL));
    }
    return SF_OK;
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

/* A file that was read through and found good, mapped for the life of the program. */
typedef struct kept {
    struct kept *next;
    const sf_dataset *dataset;
    struct stat info;
    sf_rows rows; /* as opened */
    struct place {
        sf_rows before; /* as they were before the row */
        int turn, turns; /* which of how many */
        char *key[2]; /* where the data set has keys */
    } *place;  /* [count] */
    int count; /* of samples */
    char path[];
} kept;

static kept *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The row before which `at` stands; NULL behind the last. Caller json_decref()s. */
static sf_status next_row(const sf_suite_set *set, const char *path, sf_rows *at, sf_suite_row *out, json_t **json)
{
    SF_TRY(sf_rows_next(at, json));
    *out = (sf_suite_row){.dataset = set->dataset, .file = path, .line = at->here, .number = at->row + 1, .json = *json, .set = set};
    return SF_OK;
}

static sf_status add_place(kept *k, int *room, const sf_rows *before, const sf_suite_row *row, int turns)
{
    if (k->count == *room) {
        *room = 2 * *room + 64;
        struct place *grown = realloc(k->place, (size_t)*room * sizeof *grown);
        if (!grown) return sf_fail(SF_NO_MEMORY, "%s: no memory for its rows", k->path);
        k->place = grown;
    }
    struct place *place = &k->place[k->count++];
    *place = (struct place){.before = *before, .turn = row->turn, .turns = turns};
    for (int i = 0; i < 2 && row->dataset->keys[i]; i++) place->key[i] = sf_suite_key(row->json, row->dataset->keys[i]);
    return SF_OK;
}

/* Writes every sample of a row once, so that all that is wrong with it is known before anything runs. */
static sf_status look_at_row(kept *k, sf_suite_row *row, const sf_rows *before, int *room)
{
    const json_t *turns = NULL;
    bool takes = true;
    if (row->dataset->takes) SF_TRY(row->dataset->takes(row, &takes));
    if (!takes) return SF_OK;
    if (row->dataset->turns) SF_TRY(sf_suite_list(row, row->dataset->turns, &turns));
    const int several = turns ? (int)json_array_size(turns) : 1;
    for (row->turn = 0; row->turn < several; row->turn++) {
        sf_text text = {0};
        sf_sample sample = {0};
        sf_status status = fill(row, row->set->prompt, &text, &sample);
        sf_text_free(&text);
        sf_sample_free(&sample);
        if (status == SF_OK) status = add_place(k, room, before, row, several);
        SF_TRY(status);
    }
    return SF_OK;
}

static sf_status look_through(const sf_suite_set *set, kept *k)
{
    sf_rows at = k->rows;
    for (int room = 0;;) {
        const sf_rows before = at;
        sf_suite_row row;
        json_t *json;
        SF_TRY(next_row(set, k->path, &at, &row, &json));
        if (!json) break;
        sf_status status = look_at_row(k, &row, &before, &room);
        json_decref(json);
        SF_TRY(status);
    }
    return k->count ? SF_OK : sf_fail(SF_BAD_INPUT, "%s: expected rows of %s, found none", k->path, k->dataset->name);
}

static void discard(kept *k)
{
    sf_rows_close(&k->rows);
    for (int i = 0; i < k->count; i++) free(k->place[i].key[0]), free(k->place[i].key[1]);
    free(k->place);
    free(k);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The set's rows, of a file that may have been read before. */
static sf_status find_or_read(sf_suite_set *set, const char *path)
{
    const sf_dataset *dataset = set->dataset;
    struct stat info;
    const char *end = strrchr(path, '.');
    if (end && strcmp(end, ".parquet") == 0)
        return sf_fail(SF_UNSUPPORTED, "%s: Parquet files are not read; write JSON lines: python3 -c 'import pandas, sys; "
                       "pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], orient=\"records\", lines=True)' FILE.parquet FILE.jsonl", path);
    if (stat(path, &info) != 0) return sf_fail(SF_IO, "%s: cannot open the data set: %s", path, strerror(errno));
    for (const kept *k = all; k; k = k->next)
        if (k->dataset == dataset && strcmp(k->path, path) == 0 && same_file(&k->info, &info)) return set->rows = k, SF_OK;
    kept *k = calloc(1, sizeof *k + strlen(path) + 1);
    if (!k) return sf_fail(SF_NO_MEMORY, "%s: no memory for a data set", path);
    strcpy(k->path, path);
    k->dataset = dataset;
    k->info = info;
    sf_status status = sf_rows_open(k->path, SF_ROWS_LINES, &k->rows);
    const char *first = status == SF_OK ? k->rows.at : NULL;
    while (first && first < k->rows.end && strchr(" \t\r\n", *first)) first++;
    if (first && first < k->rows.end && *first == '[') k->rows.layout = SF_ROWS_ARRAY;
    if (status == SF_OK) status = look_through(set, k);
    if (status != SF_OK) return discard(k), status;
    k->next = all;
    set->rows = all = k;
    return SF_OK;
}

sf_status sf_suite_own_words(const char *task, const sf_prompting *how)
{
    const char *what = how->place != SF_QUESTION_OWN ? "question" : how->introduction ? "introduction" : how->instructions ? "instructions" : NULL;
    return what ? sf_fail(SF_UNSUPPORTED, "%s: its prompts are its authors'; leave out %s for it", task, what) : SF_OK;
}

static sf_status read_words(sf_suite_set *set, const sf_dataset *dataset, const char *path)
{
    set->dataset = dataset;
    SF_TRY(dataset->prompt(dataset, path, &set->prompt));
    return dataset->document ? dataset->document(dataset, path, &set->document) : SF_OK;
}

/* A data set and the one that its examples are drawn from. */
typedef struct opened {
    sf_suite_set set, demos;
} opened;

static void close_set(opened *o)
{
    free(o->set.prompt);
    free(o->set.document);
    free(o->set.first_turn);
    free(o->set.later);
    free(o->demos.prompt);
    free(o->demos.document);
}

/* Fills a zeroed one, which does not move. */
static sf_status open_set(const sf_dataset *dataset, const sf_suite_params *p, const sf_request *request, opened *out)
{
    const char *missing = !p->file ? "file" : !p->prompts && !dataset->worded ? "prompts" : !p->demos && dataset->demos ? "demos" : NULL;
    if (missing)
        return sf_fail(SF_BAD_INPUT, "%s: `%s` is missing: its data and its prompts are read from your copies of them (tasks/README.md says "
                       "which files)", dataset->task, missing);
    SF_TRY(sf_suite_own_words(dataset->task, &request->prompting));
    SF_TRY(read_words(&out->set, dataset, p->prompts));
    out->set.turns = request->turns > 1 ? request->turns : 1;
    if (out->set.turns > 1) SF_TRY(dataset->turn_prompts(dataset, p->prompts, &out->set.first_turn, &out->set.later));
    if (dataset->demos) SF_TRY(read_words(&out->demos, dataset->demos, p->prompts));
    out->set.demos = &out->demos;
    pthread_mutex_lock(&lock);
    sf_status status = dataset->demos ? find_or_read(&out->demos, p->demos) : SF_OK;
    if (status == SF_OK) status = find_or_read(&out->set, p->file);
    pthread_mutex_unlock(&lock);
    return status;
}

/* ---- examples ------------------------------------------------------------------------------------------------------ */

int sf_suite_demos(const sf_suite_row *row) { return row->set->demos->rows->count; }

const char *sf_suite_demo_key(const sf_suite_row *row, int demo, int which) { return row->set->demos->rows->place[demo].key[which]; }

sf_status sf_suite_demo(const sf_suite_row *row, int demo, sf_text *out)
{
    const sf_suite_set *set = row->set->demos;
    sf_rows at = set->rows->place[demo].before;
    sf_suite_row one;
    json_t *json;
    SF_TRY(next_row(set, set->rows->path, &at, &one, &json));
    sf_status status = format(&one, true, set->prompt, out, NULL);
    json_decref(json);
    return status;
}

/* ---- the length ---------------------------------------------------------------------------------------------------- */

static sf_status count(const sf_request *r, const char *text, size_t bytes, int *tokens)
{
    *tokens = r->tokens.count(r->tokens.self, text, bytes, NULL);
    return *tokens < 0 ? sf_blame((sf_status)-*tokens, "counting the tokens of a prompt") : SF_OK;
}

/* Where the character begins that a byte is of. */
static size_t boundary(const sf_text *t, size_t at)
{
    while (at > 0 && at < t->size && ((unsigned char)t->data[at] & 0xc0) == 0x80) at--;
    return at;
}

/* The most bytes of the text's beginning, or of its end, that take at most `most` tokens, a few in a thousand aside. */
static sf_status longest(const sf_request *r, const sf_text *t, bool ends, int alone, int most, double rate, size_t *out)
{
    size_t low = 0, high = t->size + 1, next = (size_t)(rate * most);
    for (int round = 0; round < 60 && high - low > 1; round++) {
        if (next <= low || next >= high) next = low + (high - low) / 2;
        size_t cut = boundary(t, ends ? t->size - next : next), bytes = ends ? t->size - cut : cut;
        if (bytes <= low || bytes >= high) { /* within one character */
            high = next > low + 1 && next < high ? next : high - 1;
            continue;
        }
        int n;
        SF_TRY(count(r, ends ? t->data + cut : t->data, bytes, &n));
        n -= alone;
        if (n > most) high = bytes;
        else low = bytes;
        if (n <= most && n >= most - 1 - most / 1024) break;
        next = (size_t)((double)bytes + ((double)bytes / (n > 0 ? n : 1)) * (most - n - 0.5));
    }
    *out = low;
    return SF_OK;
}

static int moved(int place, size_t from, size_t to)
{
    return (size_t)place <= from ? place : (size_t)place >= to ? place - (int)(to - from) : (int)from;
}

/* Cuts the end of its context off a prompt that takes out->tokens, which are too many. */
static sf_status cut_context(const sf_request *r, const char *task, sf_text *t, int alone, sf_sample *out)
{
    const size_t begin = (size_t)out->context_begin, end = (size_t)out->context_end;
    const double rate = (double)t->size / (out->tokens > alone ? out->tokens - alone : 1);
    sf_text cut = {0};
    sf_status status = SF_OK;
    int behind = 0;
    SF_TRY(count(r, t->data + end, t->size - end, &behind));
    for (int most = r->max_tokens - behind, excess = 1; status == SF_OK && excess > 0; most -= excess) {
        size_t head = 0;
        if (most > 0) status = longest(r, t, false, alone, most, rate, &head);
        if (status == SF_OK && head <= begin)
            status = sf_fail(SF_BAD_INPUT, "%s: %d tokens hold nothing of its context; ask for a longer length", task, r->max_tokens);
        if (status != SF_OK) break;
        if (head > end) head = end;
        sf_text_clear(&cut);
        sf_text_bytes(&cut, t->data, head);
        sf_text_add(&cut, t->data + end);
        out->context_end = (int)head;
        status = cut.failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", task) : count(r, cut.data, cut.size, &out->tokens);
        excess = out->tokens - r->max_tokens;
    }
    sf_text_free(status == SF_OK ? t : &cut);
    if (status == SF_OK) *t = cut;
    return status;
}

/* Cuts a prompt that takes too many tokens, in its middle. */
static sf_status fit(const sf_request *r, const sf_suite_row *row, sf_text *t, sf_sample *out)
{
    const char *task = row->dataset->task;
    int alone, tokens;
    SF_TRY(count(r, t->data, t->size, &tokens));
    out->tokens = tokens;
    if (tokens <= r->max_tokens) return SF_OK;
    if (row->dataset->whole)
        return sf_suite_wrong(row, "it takes %d tokens and is not to be cut; ask for a length of at least %d, or leave it out of the file",
                              tokens, tokens);
    SF_TRY(count(r, "", 0, &alone));
    if (row->dataset->ends) return cut_context(r, task, t, alone, out);
    sf_text cut = {0};
    sf_status status = SF_OK;
    const double rate = (double)t->size / (tokens > alone ? tokens - alone : 1);
    for (int half = (r->max_tokens - alone) / 2, excess; status == SF_OK; half -= (excess + 1) / 2) {
        size_t head, tail;
        if (half < 1) {
            status = sf_fail(SF_BAD_INPUT, "%s: %d tokens hold nothing of its prompt; ask for a longer length", task, r->max_tokens);
            break;
        }
        status = longest(r, t, false, alone, half, rate, &head);
        if (status == SF_OK) status = longest(r, t, true, alone, half, rate, &tail);
        if (status != SF_OK) break;
        sf_text_clear(&cut);
        sf_text_bytes(&cut, t->data, head);
        sf_text_bytes(&cut, t->data + t->size - tail, tail);
        status = cut.failed ? sf_fail(SF_NO_MEMORY, "%s: no memory for a prompt", task) : count(r, cut.data, cut.size, &out->tokens);
        excess = out->tokens - r->max_tokens;
        if (status != SF_OK || excess > 0) continue;
        out->context_begin = moved(out->context_begin, head, t->size - tail);
        out->context_end = moved(out->context_end, head, t->size - tail);
        sf_text_free(t);
        *t = cut;
        return SF_OK;
    }
    sf_text_free(&cut);
    return status;
}

/* ---- samples ------------------------------------------------------------------------------------------------------- */

/* Whether a sample begins at a place: one question each, or the first of a row that has enough. */
static bool begins(const sf_suite_set *s, int place)
{
    const struct place *at = &s->rows->place[place];
    return s->turns == 1 || (at->turn == 0 && at->turns >= s->turns);
}

static int samples_of(const sf_suite_set *s)
{
    int n = 0;
    for (int i = 0; i < s->rows->count; i++) n += begins(s, i);
    return n;
}

/* The place that sample `index` of a seed is made of. */
static sf_status drawn(const sf_suite_set *s, const sf_request *r, int *place)
{
    const kept *k = s->rows;
    const int count = samples_of(s);
    if (r->index >= count)
        return sf_fail(SF_BAD_INPUT, "%s: %s has %d samples%s, number %d is one too many; lower `samples`%s", k->dataset->task, k->path, count,
                       s->turns > 1 ? " of so many turns" : "", r->index, s->turns > 1 ? " or `turns`" : "");
    int *order = malloc((size_t)count * sizeof *order);
    if (!order) return sf_fail(SF_NO_MEMORY, "%s: no memory for %d rows", k->dataset->task, count);
    for (int i = 0, n = 0; i < k->count; i++)
        if (begins(s, i)) order[n++] = i;
    sf_random chance = sf_random_stream(k->dataset->task, r->seed, 0);
    sf_random_shuffle(&chance, order, count);
    *place = order[r->index];
    free(order);
    return SF_OK;
}

/* The perfect answer, where the row's kind has none of its own. */
static sf_status answer_gold(const kept *k, sf_sample *out)
{
    if (out->answer || (out->answer = strdup(out->gold[0]))) return SF_OK;
    return sf_fail(SF_NO_MEMORY, "%s: no memory for an answer", k->dataset->task);
}

/* What the row asks after its first question. */
static sf_status ask_on(const sf_suite_set *s, sf_suite_row *row, sf_sample *out)
{
    sf_status status = SF_OK;
    for (row->turn = 1; row->turn < s->turns && status == SF_OK; row->turn++) {
        sf_sample *later;
        sf_text text = {0};
        status = sf_sample_later(out, &later);
        if (status == SF_OK) status = fill(row, s->later, &text, later);
        if (status == SF_OK) status = answer_gold(s->rows, later);
        if (status == SF_OK) later->prompt = text.data;
        else sf_text_free(&text);
    }
    return status;
}

static sf_status write_sample(const sf_suite_set *s, const sf_request *r, sf_sample *out)
{
    const kept *k = s->rows;
    int number = 0;
    SF_TRY(drawn(s, r, &number));
    sf_rows at = k->place[number].before;
    sf_suite_row row;
    json_t *json;
    SF_TRY(next_row(s, k->path, &at, &row, &json));
    row.turn = k->place[number].turn;
    sf_text text = {0};
    sf_status status = fill(&row, s->turns > 1 ? s->first_turn : s->prompt, &text, out);
    if (status == SF_OK) status = fit(r, &row, &text, out);
    if (status == SF_OK) status = answer_gold(k, out);
    if (status == SF_OK) out->prompt = text.data;
    else sf_text_free(&text);
    if (status == SF_OK) status = ask_on(s, &row, out);
    json_decref(json);
    return status;
}

sf_status sf_suite_generate(const sf_dataset *dataset, const void *params, const sf_request *request, sf_sample *out)
{
    opened o = {0};
    sf_status status = open_set(dataset, params, request, &o);
    if (status == SF_OK) status = write_sample(&o.set, request, out);
    if (status != SF_OK) sf_sample_free(out);
    close_set(&o);
    return status;
}

sf_status sf_suite_supply(const sf_dataset *dataset, const void *params, const sf_request *request, int most, int *samples)
{
    opened o = {0};
    sf_status status = open_set(dataset, params, request, &o);
    const int count = status == SF_OK ? samples_of(&o.set) : 0;
    if (status == SF_OK && !count)
        status = sf_fail(SF_BAD_INPUT, "%s: no row of %s has %d questions; lower `turns`", dataset->task, o.set.rows->path, o.set.turns);
    if (status == SF_OK) *samples = count < most ? count : most;
    close_set(&o);
    return status;
}
