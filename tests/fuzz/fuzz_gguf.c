/* Any bytes as a GGUF file: opened as a model is, tokenizer, template and weights included; texts of what opens go through
 * its tokenizer. */
#include <stdint.h>
#include <string.h>

#include "harness/model/model.h"
#include "tests/fuzz/file.h"
#include "tests/fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static int fd = -1;
    char path[32];
    sf_model *model;
    if (sf_model_open(fuzz_file(&fd, data, bytes, path), &model) != SF_OK) return 0;
    if (sf_model_validate(model, path) != SF_OK || !model->tokenizer) abort();
    for (int i = 0; i < model->stops; i++)
        if (model->stop[i] < 0 || model->stop[i] >= model->config.vocab) abort();
    if (model->bos >= model->config.vocab) abort();
    use_tokenizer(model->tokenizer, data + bytes - (bytes < 64 ? bytes : 64), bytes < 64 ? bytes : 64);
    sf_model_close(model);
    return 0;
}
