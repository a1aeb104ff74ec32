#include "harness/model/gguf_tokens.h"

#include <string.h>

#define END(t)     {.text = t, .type = SF_GGUF_CONTROL, .ends = true}
#define CONTROL(t) {.text = t, .type = SF_GGUF_CONTROL}
#define SHOWN(t)   {.text = t, .type = SF_GGUF_USER_DEFINED}

const sf_gguf_known sf_gguf_known_tokens[] = {
    END("<|im_end|>"),
    END("<|eot_id|>"),
    END("<|eom_id|>"),
    END("<end_of_turn>"),
    END("<|endoftext|>"),
    END("<|end_of_text|>"),
    END("<\uff5cend\u2581of\u2581sentence\uff5c>"), /* DeepSeek */
    END("<EOT>"),
    END("_<EOT>"),
    END("[EOT]"), /* Kimi */
    END("[EOS]"),
    END("<eos>"),
    END("<turn|>"),
    END("<|tool_response>"),
    END("<end_of_utterance>"),
    END("<|return|>"), /* gpt-oss */
    END("<|call|>"),
    END("<|calls|>"),
    END("<|flush|>"),
    END("[e~["),
    {.text = "<|end|>", .type = SF_GGUF_CONTROL, .ends = true, .unless = "<|return|>"},
    {.text = "</s>", .type = SF_GGUF_CONTROL, .ends = true, .unless = "<|tool_response>"},
    /* filling in the middle: what would follow is no part of an answer */
    END("<|fim_pad|>"),
    END("<fim-pad>"),
    END("<fim_pad>"),
    END("<PAD>"),
    END("[PAD]"),
    END("<|fim_repo|>"),
    END("<|repo_name|>"),
    END("<fim-repo>"),
    END("<REPO>"),
    END("<reponame>"),
    END("<|file_sep|>"),
    CONTROL("<|fim_prefix|>"),
    CONTROL("<fim-prefix>"),
    CONTROL("<fim_prefix>"),
    CONTROL("<\uff5cfim\u2581begin\uff5c>"),
    CONTROL("<PRE>"),
    CONTROL("\u2581<PRE>"),
    CONTROL("<|code_prefix|>"),
    CONTROL("<|prefix|>"),
    CONTROL("<|fim_suffix|>"),
    CONTROL("<fim-suffix>"),
    CONTROL("<fim_suffix>"),
    CONTROL("<\uff5cfim\u2581hole\uff5c>"),
    CONTROL("<SUF>"),
    CONTROL("\u2581<SUF>"),
    CONTROL("<|code_suffix|>"),
    CONTROL("<|suffix|>"),
    CONTROL("<|fim_middle|>"),
    CONTROL("<fim-middle>"),
    CONTROL("<fim_middle>"),
    CONTROL("<\uff5cfim\u2581end\uff5c>"),
    CONTROL("<MID>"),
    CONTROL("\u2581<MID>"),
    CONTROL("<|code_middle|>"),
    SHOWN("<|channel|>"),
    SHOWN("<|message|>"),
    SHOWN("<|start|>"),
    SHOWN("<|constrain|>"),
    {0},
};

const sf_gguf_known *sf_gguf_find_known(const char *text, size_t bytes)
{
    if (!bytes || !strchr("<[_\xe2", text[0])) return NULL; /* how they all begin, and few others */
    for (const sf_gguf_known *k = sf_gguf_known_tokens; k->text; k++)
        if (strlen(k->text) == bytes && !memcmp(k->text, text, bytes)) return k;
    return NULL;
}

bool sf_gguf_adds_bos(const char *model, const char *pre)
{
    static const char *const YES[] = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral",
                                      "midm-2.0",  "lfm2",   "tekken",   "chameleon"};
    if (model && !strcmp(model, "llama")) return true;
    for (size_t i = 0; pre && i < sizeof YES / sizeof *YES; i++)
        if (!strcmp(YES[i], pre)) return true;
    return false;
}
