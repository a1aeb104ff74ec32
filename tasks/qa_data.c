#include "tasks/qa_data.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "tasks/answer.h"
#include "base/embed.h"
#include "tasks/rows.h"
#include "tasks/text.h"
#include "tasks/unicode.h"
#include "tasks/unique.h"

SF_EMBED(open_questions, "tasks/data/qa_open.json");
SF_EMBED(choice_questions, "tasks/data/qa_choice.jsonl");
SF_EMBED(hotpot_questions, "tasks/data/qa_hotpot.json");

static const struct {
    sf_row_layout layout;
    const char *shipped, *end, *name;
} formats[SF_QA_FORMATS] = {
    [SF_QA_SQUAD] = {SF_ROWS_MEMBER, open_questions, open_questions_end, "qa_open.json"},
    [SF_QA_CHOICE] = {SF_ROWS_LINES, choice_questions, choice_questions_end, "qa_choice.jsonl"},
    [SF_QA_HOTPOT] = {SF_ROWS_ARRAY, hotpot_questions, hotpot_questions_end, "qa_hotpot.json"},
};

/* ---- pieces of text ---------------------------------------------------------------------------------------------- */

/* The first byte after the piece at `at`. */
static const char *piece_end(const char *at)
{
    int n;
    while (*at && sf_is_space(sf_code_point(at, at + strnlen(at, 4), &n))) at += n;
    for (int characters = 0; *at && characters < 16; characters++) {
        int c = sf_code_point(at, at + strnlen(at, 4), &n);
        if (sf_is_space(c)) break;
        at += n;
    }
    return at;
}

int sf_qa_cut(const char *text, int pieces)
{
    const char *at = text;
    while (pieces-- > 0 && *at) at = piece_end(at);
    return (int)(at - text);
}

static int count_pieces(const char *text)
{
    int n = 0;
    for (; *text; n++) text = piece_end(text);
    return n;
}

/* ---- a set in the making ----------------------------------------------------------------------------------------- */

typedef struct loading {
    sf_qa_set *set;
    sf_rows rows;
    int document_room, item_room;
    int *slot; /* [1 << bits] document + 1 by hash of its text, 0: free */
    int bits;
    sf_unique asked;
} loading;

static sf_status no_memory(const loading *l)
{
    return sf_fail(SF_NO_MEMORY, "%s: no memory for the data set", l->rows.where);
}

static int *find_slot(const loading *l, const char *text)
{
    size_t mask = ((size_t)1 << l->bits) - 1, i = XXH3_64bits(text, strlen(text)) & mask;
    while (l->slot[i] && strcmp(l->set->document[l->slot[i] - 1].text, text) != 0) i = (i + 1) & mask;
    return &l->slot[i];
}

static bool grow_slots(loading *l)
{
    int *before = l->slot;
    int *slot = calloc((size_t)2 << l->bits, sizeof *slot);
    if (!slot) return false;
    l->slot = slot;
    l->bits++;
    for (int i = 0; i < l->set->documents; i++) *find_slot(l, l->set->document[i].text) = i + 1;
    free(before);
    return true;
}

/* The number of a document, new or known; -1: no memory. Takes `text` over. */
static int add_document(loading *l, char *text)
{
    sf_qa_set *set = l->set;
    if (!text) return -1;
    if ((!l->slot || 2 * set->documents >= 1 << l->bits) && !grow_slots(l)) return free(text), -1;
    int *slot = find_slot(l, text);
    if (*slot) return free(text), *slot - 1;
    if (set->documents == l->document_room) {
        int room = 2 * l->document_room + 64;
        sf_qa_document *grown = realloc(set->document, (size_t)room * sizeof *grown);
        if (!grown) return free(text), -1;
        set->document = grown;
        l->document_room = room;
    }
    set->document[set->documents] = (sf_qa_document){text, count_pieces(text)};
    return (*slot = ++set->documents) - 1;
}

/* A text without white space at its ends. */
static char *stripped(const char *text)
{
    sf_span s = sf_strip(sf_span_of(text));
    return strndup(s.at, s.bytes);
}

/* Makes room for an item that asks `question` of these documents; NULL with `*status` OK if it is there already, letter
 * case aside. */
static sf_qa_item *add_item(loading *l, const char *question, const int *document, int documents, sf_status *status)
{
    sf_text key = {0};
    sf_add_lower(&key, sf_strip(sf_span_of(question)));
    sf_text_bytes(&key, (const char *)document, (size_t)documents * sizeof *document);
    bool fresh = !key.failed && sf_unique_add(&l->asked, key.data, key.size), failed = key.failed || l->asked.failed;
    sf_text_free(&key);
    *status = failed ? no_memory(l) : SF_OK;
    if (failed || !fresh) return NULL;
    sf_qa_set *set = l->set;
    if (set->items == l->item_room) {
        int room = 2 * l->item_room + 64;
        sf_qa_item *grown = realloc(set->item, (size_t)room * sizeof *grown);
        if (!grown) return *status = no_memory(l), NULL;
        set->item = grown;
        l->item_room = room;
    }
    sf_qa_item *item = &set->item[set->items++];
    *item = (sf_qa_item){.question = stripped(question), .document = malloc((size_t)documents * sizeof *document)};
    if (!item->question || !item->document) return *status = no_memory(l), NULL;
    memcpy(item->document, document, (size_t)documents * sizeof *document);
    item->documents = documents;
    return item;
}

static sf_status add_gold(const loading *l, sf_qa_item *item, const char *gold)
{
    for (int i = 0; i < item->golds; i++)
        if (strcmp(item->gold[i], gold) == 0) return SF_OK;
    char **grown = realloc(item->gold, ((size_t)item->golds + 1) * sizeof *grown);
    if (grown) item->gold = grown;
    char *copy = grown ? strdup(gold) : NULL;
    if (!copy) return no_memory(l);
    item->gold[item->golds++] = copy;
    return SF_OK;
}

void sf_qa_free(sf_qa_set *set)
{
    for (int i = 0; i < set->documents; i++) free(set->document[i].text);
    for (int i = 0; i < set->items; i++) {
        for (int k = 0; k < set->item[i].golds; k++) free(set->item[i].gold[k]);
        free(set->item[i].gold);
        free(set->item[i].question);
        free(set->item[i].document);
    }
    free(set->document);
    free(set->item);
    free(set);
}

/* ---- fields of a row --------------------------------------------------------------------------------------------- */

static sf_status wrong(const loading *l, const char *what, ...) __attribute__((format(printf, 2, 3)));
static sf_status wrong(const loading *l, const char *what, ...)
{
    char message[300];
    va_list args;
    va_start(args, what);
    vsnprintf(message, sizeof message, what, args);
    va_end(args);
    return sf_fail(SF_BAD_INPUT, "%s:%d: row %d: %s", l->rows.where, l->rows.here, l->rows.row + 1, message);
}

static const char *type_name(json_type type)
{
    return type == JSON_STRING ? "a text" : type == JSON_ARRAY ? "a list" : "a number";
}

/* Member `name` of an object that stands at `path` of the row. */
static sf_status want(const loading *l, const json_t *object, const char *path, const char *name, json_type type,
                      json_t **out)
{
    if (!json_is_object(object)) return wrong(l, "expected %s to be an object, found something else", path);
    *out = json_object_get(object, name);
    if (!*out) return wrong(l, "expected %s with a member \"%s\", found none", path, name);
    if (json_typeof(*out) != type) return wrong(l, "expected \"%s\" of %s to be %s", name, path, type_name(type));
    if (type == JSON_STRING && sf_strip(sf_span_of(json_string_value(*out))).bytes == 0)
        return wrong(l, "expected \"%s\" of %s to be a text, found an empty one", name, path);
    return SF_OK;
}

static sf_status squad_question(loading *l, const json_t *question, const char *path, int document)
{
    json_t *text, *answers, *answer;
    SF_TRY(want(l, question, path, "question", JSON_STRING, &text));
    if (json_is_true(json_object_get(question, "is_impossible"))) return SF_OK;
    SF_TRY(want(l, question, path, "answers", JSON_ARRAY, &answers));
    if (json_array_size(answers) == 0) return wrong(l, "expected \"answers\" of %s, found an empty list", path);
    sf_status status;
    sf_qa_item *item = add_item(l, json_string_value(text), &document, 1, &status);
    if (!item) return status;
    for (size_t i = 0; i < json_array_size(answers); i++) {
        SF_TRY(want(l, json_array_get(answers, i), path, "text", JSON_STRING, &answer));
        SF_TRY(add_gold(l, item, json_string_value(answer)));
    }
    return SF_OK;
}

static sf_status squad_row(loading *l, const json_t *row)
{
    json_t *paragraphs, *context, *questions;
    int first_item = l->set->items, first_document = l->set->documents;
    SF_TRY(want(l, row, "the article", "paragraphs", JSON_ARRAY, &paragraphs));
    for (size_t i = 0; i < json_array_size(paragraphs); i++) {
        char path[80];
        snprintf(path, sizeof path, "paragraphs[%zu]", i);
        const json_t *paragraph = json_array_get(paragraphs, i);
        SF_TRY(want(l, paragraph, path, "context", JSON_STRING, &context));
        SF_TRY(want(l, paragraph, path, "qas", JSON_ARRAY, &questions));
        if (json_array_size(questions) == 0) continue;
        int document = add_document(l, stripped(json_string_value(context)));
        if (document < 0) return no_memory(l);
        for (size_t k = 0; k < json_array_size(questions); k++) {
            snprintf(path, sizeof path, "paragraphs[%zu].qas[%zu]", i, k);
            SF_TRY(squad_question(l, json_array_get(questions, k), path, document));
        }
    }
    for (int i = first_item; i < l->set->items; i++) {
        l->set->item[i].near_begin = first_document;
        l->set->item[i].near_end = l->set->documents;
    }
    return SF_OK;
}

/* A question of the line in QuALITY's own layout; its options get letters. */
static sf_status quality_question(loading *l, const json_t *entry, const char *path, int document)
{
    json_t *question, *options, *label;
    SF_TRY(want(l, entry, path, "question", JSON_STRING, &question));
    SF_TRY(want(l, entry, path, "options", JSON_ARRAY, &options));
    if (!json_object_get(entry, "gold_label"))
        return wrong(l, "expected %s with a member \"gold_label\", found none; is this the test set?", path);
    SF_TRY(want(l, entry, path, "gold_label", JSON_INTEGER, &label));
    json_int_t right = json_integer_value(label), n = (json_int_t)json_array_size(options);
    if (n > 4 || right < 1 || right > n)
        return wrong(l, "expected \"gold_label\" of %s to be one of up to 4 options, found %lld of %lld", path,
                     (long long)right, (long long)n);
    sf_text text = {0};
    sf_text_add(&text, json_string_value(question));
    for (int i = 0; i < n; i++) {
        const char *option = json_string_value(json_array_get(options, (size_t)i));
        if (!option) {
            sf_text_free(&text);
            return wrong(l, "expected options[%d] of %s to be a text", i, path);
        }
        sf_text_format(&text, "\n%c. %s", 'A' + i, option);
    }
    sf_status status = text.failed ? no_memory(l) : SF_OK;
    sf_qa_item *item = status == SF_OK ? add_item(l, text.data, &document, 1, &status) : NULL;
    sf_text_free(&text);
    return item ? add_gold(l, item, (const char[]){(char)('A' + right - 1), 0}) : status;
}

static sf_status quality_row(loading *l, const json_t *row)
{
    json_t *article, *questions;
    SF_TRY(want(l, row, "the line", "article", JSON_STRING, &article));
    SF_TRY(want(l, row, "the line", "questions", JSON_ARRAY, &questions));
    if (json_array_size(questions) == 0) return SF_OK;
    int document = add_document(l, stripped(json_string_value(article)));
    if (document < 0) return no_memory(l);
    for (size_t i = 0; i < json_array_size(questions); i++) {
        char path[40];
        snprintf(path, sizeof path, "questions[%zu]", i);
        SF_TRY(quality_question(l, json_array_get(questions, i), path, document));
    }
    return SF_OK;
}

static sf_status choice_row(loading *l, const json_t *row)
{
    if (json_object_get(row, "article")) return quality_row(l, row);
    json_t *context, *questions, *answers;
    SF_TRY(want(l, row, "the line", "context", JSON_STRING, &context));
    SF_TRY(want(l, row, "the line", "questions", JSON_ARRAY, &questions));
    SF_TRY(want(l, row, "the line", "answer", JSON_ARRAY, &answers));
    if (json_array_size(questions) != json_array_size(answers))
        return wrong(l, "expected an answer for each question, found %zu for %zu", json_array_size(answers),
                     json_array_size(questions));
    if (json_array_size(questions) == 0) return SF_OK;
    int document = add_document(l, stripped(json_string_value(context)));
    if (document < 0) return no_memory(l);
    for (size_t i = 0; i < json_array_size(questions); i++) {
        const char *question = json_string_value(json_array_get(questions, i)),
                   *letters = json_string_value(json_array_get(answers, i));
        if (!question || !*question) return wrong(l, "expected questions[%zu] to be a text", i);
        if (!letters || !*letters || letters[strspn(letters, "ABCD")])
            return wrong(l, "expected answer[%zu] to be letters from A to D, as in \"B\" or \"AC\", found %s", i,
                         letters ? letters : "no text");
        static const char label[] = "Question: "; /* in front of every question of TOEFL-QA */
        if (strncmp(question, label, strlen(label)) == 0) question += strlen(label);
        sf_status status;
        sf_qa_item *item = add_item(l, question, &document, 1, &status);
        if (item) status = add_gold(l, item, letters);
        if (status != SF_OK) return status;
    }
    return SF_OK;
}

/* A document of HotpotQA: title, new line, sentences (which bring their own spaces). */
static sf_status hotpot_document(loading *l, const json_t *pair, size_t i, int *out)
{
    const char *title = json_string_value(json_array_get(pair, 0));
    const json_t *sentences = json_array_get(pair, 1);
    if (!title || !json_is_array(sentences))
        return wrong(l, "expected context[%zu] to be a title and a list of sentences", i);
    sf_text text = {0};
    sf_text_format(&text, "%s\n", title);
    for (size_t k = 0; k < json_array_size(sentences); k++) {
        const char *sentence = json_string_value(json_array_get(sentences, k));
        if (!sentence) {
            sf_text_free(&text);
            return wrong(l, "expected context[%zu][1][%zu] to be a text", i, k);
        }
        sf_text_add(&text, sentence);
    }
    if (text.failed) sf_text_free(&text);
    *out = add_document(l, text.data);
    return *out < 0 ? no_memory(l) : SF_OK;
}

static sf_status hotpot_row(loading *l, const json_t *row)
{
    json_t *question, *answer, *context;
    int document[64];
    SF_TRY(want(l, row, "the row", "question", JSON_STRING, &question));
    SF_TRY(want(l, row, "the row", "answer", JSON_STRING, &answer));
    SF_TRY(want(l, row, "the row", "context", JSON_ARRAY, &context));
    size_t n = json_array_size(context);
    if (n == 0 || n > 64) return wrong(l, "expected a context of 1 to 64 documents, found %zu", n);
    for (size_t i = 0; i < n; i++) SF_TRY(hotpot_document(l, json_array_get(context, i), i, &document[i]));
    sf_status status;
    sf_qa_item *item = add_item(l, json_string_value(question), document, (int)n, &status);
    return item ? add_gold(l, item, json_string_value(answer)) : status;
}

/* ---- a whole set ------------------------------------------------------------------------------------------------- */

static sf_status load_rows(loading *l, sf_qa_format format)
{
    for (json_t *row;; json_decref(row)) {
        SF_TRY(sf_rows_next(&l->rows, &row));
        if (!row) break;
        sf_status status = format == SF_QA_SQUAD    ? squad_row(l, row)
                           : format == SF_QA_CHOICE ? choice_row(l, row)
                                                    : hotpot_row(l, row);
        if (status != SF_OK) {
            json_decref(row);
            return status;
        }
    }
    if (l->set->items == 0)
        return sf_fail(SF_BAD_INPUT, "%s:%d: expected questions and their answers, found none in the whole file",
                       l->rows.where, l->rows.line);
    return SF_OK;
}

static void find_shortest(sf_qa_set *set)
{
    size_t least = SIZE_MAX;
    for (int i = 0; i < set->items; i++) {
        size_t bytes = 2 * strlen(set->item[i].question);
        for (int k = 0; k < set->item[i].documents; k++) bytes += strlen(set->document[set->item[i].document[k]].text);
        if (bytes < least) {
            least = bytes;
            set->shortest = i;
        }
    }
}

/* Reads all rows, and closes them. */
static sf_status load(sf_rows *rows, sf_qa_format format, sf_qa_set **out)
{
    loading l = {.set = calloc(1, sizeof *l.set), .rows = *rows};
    sf_status status = l.set ? load_rows(&l, format) : sf_fail(SF_NO_MEMORY, "no memory for a data set");
    sf_rows_close(&l.rows);
    free(l.slot);
    sf_unique_free(&l.asked);
    if (status == SF_OK) {
        find_shortest(l.set);
        *out = l.set;
    } else if (l.set) {
        sf_qa_free(l.set);
    }
    return status;
}

sf_status sf_qa_parse(const char *text, size_t bytes, const char *name, sf_qa_format format, sf_qa_set **out)
{
    sf_rows rows;
    sf_rows_of(text, bytes, name, formats[format].layout, &rows);
    return load(&rows, format, out);
}

static sf_status load_file(const char *path, sf_qa_format format, sf_qa_set **out)
{
    sf_rows rows;
    SF_TRY(sf_rows_open(path, formats[format].layout, &rows));
    return load(&rows, format, out);
}

static sf_status load_shipped(sf_qa_format format, sf_qa_set **out)
{
    const char *text = formats[format].shipped;
    return sf_qa_parse(text, (size_t)(formats[format].end - text), formats[format].name, format, out);
}

typedef struct kept {
    struct kept *next;
    sf_qa_set *set;
    sf_qa_format format;
    struct stat file;
    char path[]; /* "": shipped */
} kept;

static kept *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static sf_status find_or_load(const char *path, sf_qa_format format, const sf_qa_set **out)
{
    struct stat file = {0};
    if (path && stat(path, &file) != 0)
        return sf_fail(SF_IO, "%s: cannot open the data set: %s", path, strerror(errno));
    const char *name = path ? path : "";
    for (const kept *k = all; k; k = k->next)
        if (k->format == format && strcmp(k->path, name) == 0 && same_file(&k->file, &file))
            return *out = k->set, SF_OK;
    kept *k = calloc(1, sizeof *k + strlen(name) + 1);
    if (!k) return sf_fail(SF_NO_MEMORY, "no memory for a data set");
    sf_status status = path ? load_file(path, format, &k->set) : load_shipped(format, &k->set);
    if (status != SF_OK) {
        free(k);
        return status;
    }
    strcpy(k->path, name);
    k->format = format;
    k->file = file;
    k->next = all;
    all = k;
    *out = k->set;
    return SF_OK;
}

sf_status sf_qa_open(const char *path, sf_qa_format format, const sf_qa_set **out)
{
    pthread_mutex_lock(&lock);
    sf_status status = find_or_load(path, format, out);
    pthread_mutex_unlock(&lock);
    return status;
}
