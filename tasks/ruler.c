#include "tasks/ruler.h"

sf_status sf_ruler_answer(sf_sample *sample, const char *separator)
{
    sf_text t = {0};
    if (sample->answer_prefix) sf_text_char(&t, ' ');
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
