/* Small valid checkpoints that were once read wrongly (tests/cases/cases.json): the right prompt, ids, rotation, stop tokens
 * and logits, or a refusal that says why. */
#include "tests/testing.h"

#include <jansson.h>
#include <math.h>
#include <regex.h>

#include "harness/engine/engine.h"
#include "harness/engine/rope.h"
#include "harness/model/chat.h"
#include "harness/model/model.h"
#include "harness/model/tokenizer.h"
#include "tasks/score.h"

enum { TOKENS = 300, VOCAB = 400, POSITIONS = 4096 };

static char folder[64];
static json_t *file;

static int make_checkpoints(void **state)
{
    (void)state;
    char command[160];
    file = json_load_file("tests/cases/cases.json", 0, NULL);
    if (!file || folder_make(folder) != 0) return -1;
    snprintf(command, sizeof command, "python3 tests/cases/make.py '%s'", folder);
    return system(command);
}

static int remove_checkpoints(void **state)
{
    (void)state;
    return folder_remove(folder);
}

static const char *text_of(const json_t *item, const char *key)
{
    return json_string_value(json_object_get(item, key));
}

/* The model that a case names under `key`; without its weights unless `whole`. */
static sf_status open_model(const json_t *item, const char *key, bool whole, sf_model **out)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, text_of(item, key));
    return whole ? sf_model_open(path, out) : sf_model_open_text(path, out);
}

/* The message at hand says `refused`. */
static void refused(const json_t *item)
{
    regex_t words;
    assert_int_equal(regcomp(&words, text_of(item, "refused"), REG_EXTENDED | REG_ICASE), 0);
    if (regexec(&words, sf_error(), 0, NULL, 0)) fail_msg("%s: %s", text_of(item, "name"), sf_error());
    regfree(&words);
}

static void equal_ids(const json_t *item, const int32_t *id, int n)
{
    const json_t *right = json_object_get(item, "ids");
    if ((int)json_array_size(right) != n) fail_msg("%s: %d ids instead of %zu", text_of(item, "name"), n, json_array_size(right));
    for (int i = 0; i < n; i++)
        if (json_integer_value(json_array_get(right, i)) != id[i]) fail_msg("%s: id %d is %d", text_of(item, "name"), i, id[i]);
}

static void check_text(const json_t *item, bool chat)
{
    sf_model *m;
    int32_t *id;
    int n;
    const char *text = text_of(item, "text");
    OK(open_model(item, "model", false, &m));
    if (text_of(item, "options")) OK(sf_model_chat(m, text_of(item, "options")));
    if (chat && !m->chat) fail_msg("%s: %s", text_of(item, "name"), m->no_chat);
    OK(chat ? sf_chat_encode(m->chat, m->tokenizer, text, strlen(text), &id, &n)
            : sf_encode(m->tokenizer, text, strlen(text), true, &id, &n));
    equal_ids(item, id, n);
    free(id);
    sf_model_close(m);
}

static void check_stops(const json_t *item)
{
    sf_model *m;
    OK(open_model(item, "model", false, &m));
    for (size_t i = 0; i < json_array_size(json_object_get(item, "ids")); i++) {
        bool found = false;
        for (int s = 0; s < m->stops; s++) found |= m->stop[s] == json_integer_value(json_array_get(json_object_get(item, "ids"), i));
        if (!found) fail_msg("%s: token %zu of ids does not stop", text_of(item, "name"), i);
    }
    sf_model_close(m);
}

/* Frequencies [D/2] and their scale, behind each other, as the engine takes them. */
static int rotation(const json_t *item, const char *key, float *out)
{
    sf_model *m;
    OK(open_model(item, key, false, &m));
    int half = m->config.head_dim / 2;
    sf_rope_frequencies(&m->config.rope, m->config.head_dim, m->config.max_position, out, out + half);
    sf_model_close(m);
    return half + 1;
}

static void check_rotation(const json_t *item, bool same)
{
    float one[64], other[64], most = 0;
    if (text_of(item, "refused")) {
        sf_model *m;
        assert_int_not_equal(open_model(item, "model", false, &m), SF_OK);
        refused(item);
        return;
    }
    int n = rotation(item, "model", one);
    assert_int_equal(rotation(item, "twin", other), n);
    for (int i = 0; i < n; i++) most = fmaxf(most, fabsf(one[i] / other[i] - 1));
    if ((most < 1e-6F) != same) fail_msg("%s: rotations differ by a factor of 1 + %g", text_of(item, "name"), (double)most);
}

static sf_status logits(sf_backend *b, const json_t *item, const char *key, float *out)
{
    sf_model *m;
    sf_engine *e;
    int32_t id[TOKENS];
    for (int i = 0; i < TOKENS; i++) id[i] = (i * 37 + 11) % VOCAB;
    OK(open_model(item, key, true, &m));
    OK(sf_engine_open(b, m, TOKENS, &e));
    sf_status status = sf_engine_logits(e, id, TOKENS, out);
    sf_engine_close(e);
    sf_model_close(m);
    return status;
}

static void check_logits(const json_t *item, bool same)
{
    static float one[TOKENS * VOCAB], other[TOKENS * VOCAB];
    float most = 0;
    sf_backend b;
    OK(sf_backend_open("cpu", 1, &b));
    OK(logits(&b, item, "model", one));
    OK(logits(&b, item, "twin", other));
    for (int i = 0; i < TOKENS * VOCAB; i++) most = fmaxf(most, fabsf(one[i] - other[i]));
    if ((most == 0) != same) fail_msg("%s: logits differ by %g", text_of(item, "name"), (double)most);
    sf_backend_close(&b);
}

/* What is wrong is said when the model is opened or, at the latest, when it generates. */
static void check_refusal(const json_t *item)
{
    sf_model *m = NULL;
    sf_engine *e = NULL;
    sf_backend b;
    int32_t id[] = {1, 279, 259, 201, 308, 71}, output[4];
    sf_generation how = {.max_output = 4};
    sf_lane lane = {.output = output};
    OK(sf_backend_open("cpu", 1, &b));
    sf_status status = open_model(item, "model", true, &m);
    if (status == SF_OK) status = sf_engine_open(&b, m, 16, &e);
    if (status == SF_OK) status = sf_engine_generate(e, id, 6, &how, 1, &lane);
    if (status == SF_OK) fail_msg("%s: nothing is refused", text_of(item, "name"));
    refused(item);
    sf_engine_close(e);
    sf_model_close(m);
    sf_backend_close(&b);
}

static void check_case(void **state)
{
    const json_t *item = *state;
    const char *kind = text_of(item, "kind");
    if (!strcmp(kind, "chat")) check_text(item, true);
    else if (!strcmp(kind, "text")) check_text(item, false);
    else if (!strcmp(kind, "stops")) check_stops(item);
    else if (!strcmp(kind, "rope")) check_rotation(item, true);
    else if (!strcmp(kind, "rope differs")) check_rotation(item, false);
    else if (!strcmp(kind, "logits")) check_logits(item, true);
    else if (!strcmp(kind, "logits differ")) check_logits(item, false);
    else if (!strcmp(kind, "refused")) check_refusal(item);
    else fail_msg("no kind %s", kind);
}

/* CPython's lower(): a sigma at a word's end, and a dotted I, which becomes two characters. Values of SQuAD's own script. */
static void test_squad_lowers_as_python(void **state)
{
    (void)state;
    static const struct { const char *prediction, *gold; double f1; } pair[] = {
        {"ΟΔΟΣ", "οδος", 1}, {"Πόλη ΤΗΣ", "Πόλη της", 1}, {"Πόλη ΤΗΣ", "Πόλη τησ", 0.5},
        {"İstanbul", "istanbul", 0}, {"İzmir", "İZMİR", 0}, {"café", "CAFÉ", 1},
    };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
        assert_true(fabs(sf_squad_f1(pair[i].prediction, pair[i].gold) - pair[i].f1) < 1e-12);
}

int main(void)
{
    if (make_checkpoints(NULL) != 0) return 1;
    const json_t *cases = json_object_get(file, "cases");
    size_t n = json_array_size(cases);
    struct CMUnitTest *test = calloc(n + 1, sizeof *test);
    for (size_t i = 0; i < n; i++)
        test[i] = (struct CMUnitTest){text_of(json_array_get(cases, i), "name"), check_case, NULL, NULL, json_array_get(cases, i)};
    test[n] = (struct CMUnitTest)cmocka_unit_test(test_squad_lowers_as_python);
    int failed = _cmocka_run_group_tests("cases", test, n + 1, NULL, remove_checkpoints);
    free(test);
    json_decref(file);
    return failed;
}
