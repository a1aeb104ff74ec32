#include "tasks/ruler.h"

#include <stdlib.h>
#include <string.h>

#include "tasks/python_text.h"
#include "tasks/suite.h"

static sf_status no_memory(const char *task) { return sf_fail(SF_NO_MEMORY, "%s: no memory for RULER's words", task); }

/* ---- RULER's own words --------------------------------------------------------------------------------------------- */

/* A string of a file of the repository; key NULL: none is asked for. */
static sf_status read_word(const char *folder, const char *file, const char *const *key, char **out)
{
    if (!key[0]) return SF_OK;
    sf_text path = {0};
    sf_text_format(&path, "%s/%s.py", folder, file);
    sf_status status = path.failed ? no_memory(file) : sf_python_file_text(path.data, key, out);
    sf_text_free(&path);
    return status;
}

sf_status sf_ruler_read(const char *task, const sf_ruler_params *p, const sf_prompting *how, const char *name, const char *code, const char *noise,
                        sf_ruler_words *out)
{
    *out = (sf_ruler_words){0};
    if (!p->wording && p->repository) return sf_fail(SF_BAD_INPUT, "%s: `repository` is read with `wording: ruler` alone; say that, or leave it out", task);
    if (!p->wording) return SF_OK;
    if (!p->repository)
        return sf_fail(SF_BAD_INPUT, "%s: `wording: ruler` takes `repository`, the folder scripts/data/synthetic of your copy of github.com/NVIDIA/RULER", task);
    SF_TRY(sf_suite_own_words(task, how));
    const struct {
        const char *file, *key[4];
        char **to;
    } word[] = {{"constants", {"TASKS", name, "template", NULL}, &out->prompt},
                {"constants", {"TASKS", name, "answer_prefix", NULL}, &out->answer},
                {name, {code, NULL}, &out->code},
                {name, {noise, NULL}, &out->noise}};
    sf_status status = SF_OK;
    for (int i = 0; i < 4 && status == SF_OK; i++) status = read_word(p->repository, word[i].file, word[i].key, word[i].to);
    if (status == SF_OK && !strstr(out->prompt, "{context}"))
        status = sf_fail(SF_BAD_INPUT, "%s: %s/constants.py: expected {context} in the template of %s, found none", task, p->repository, name);
    if (status != SF_OK) sf_ruler_free(out);
    return status;
}

void sf_ruler_free(sf_ruler_words *words)
{
    free(words->prompt);
    free(words->answer);
    free(words->code);
    free(words->noise);
    *words = (sf_ruler_words){0};
}

sf_status sf_ruler_replace(sf_ruler_words *words, const char *text, const char *with)
{
    char **all[] = {&words->prompt, &words->answer};
    for (int i = 0; i < 2; i++) {
        sf_text t = {0};
        sf_suite_put(&t, *all[i], text, with);
        if (t.failed || !t.data) return sf_text_free(&t), no_memory("ruler");
        free(*all[i]);
        *all[i] = t.data;
    }
    return SF_OK;
}

sf_status sf_ruler_filled(const char *task, const sf_ruler_words *words)
{
    const char *all[] = {words->prompt, words->answer};
    for (int i = 0; i < 2; i++)
        for (const char *at = all[i] + strcspn(all[i], "{}"); *at; at += strcspn(at, "{}")) {
            const char *known = strncmp(at, "{query}", 7) == 0 ? "{query}" : i == 0 && strncmp(at, "{context}", 9) == 0 ? "{context}" : NULL;
            if (!known) return sf_fail(SF_BAD_INPUT, "%s: RULER's words have a field that this program does not know: \"%.20s\"", task, at);
            at += strlen(known);
        }
    return SF_OK;
}

void sf_ruler_format(sf_text *out, const char *text, const char *context, const char *query)
{
    sf_text half = {0};
    const char *at = strstr(text, "{context}");
    sf_suite_put(&half, text, "{query}", query); /* of what stands around the context, which may hold anything */
    if (at && half.data) at = strstr(half.data, "{context}");
    if (at) {
        sf_text_bytes(out, half.data, (size_t)(at - half.data));
        sf_text_add(out, context);
        sf_text_add(out, at + strlen("{context}"));
    } else if (half.data) {
        sf_text_bytes(out, half.data, half.size);
    }
    out->failed |= half.failed;
    sf_text_free(&half);
}

/* ---- answers ------------------------------------------------------------------------------------------------------- */

sf_status sf_ruler_answer(sf_sample *sample, const char *separator)
{
    sf_text t = {0};
    const char *prefix = sample->answer_prefix;
    if (prefix && (!*prefix || prefix[strlen(prefix) - 1] != ' ')) sf_text_char(&t, ' ');
    for (int i = 0; i < sample->gold_count; i++) {
        if (i) sf_text_add(&t, separator ? separator : " ");
        if (!separator) sf_text_format(&t, "%d. ", i + 1);
        sf_text_add(&t, sample->gold[i]);
    }
    if (t.failed || !t.data) {
        sf_text_free(&t);
        return sf_fail(SF_NO_MEMORY, "no memory for an answer");
    }
    sample->answer = t.data;
    return SF_OK;
}
