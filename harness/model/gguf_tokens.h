/* What GGUF files leave to whoever reads them, as llama.cpp decides it (src/llama-vocab.cpp, read in November 2026):
 * which texts are control tokens whatever their type says, which of them end an answer, whether BOS is put in front,
 * and how text is split when the file does not say. */
#ifndef SF_GGUF_TOKENS_H
#define SF_GGUF_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Token types of the format. */
enum { SF_GGUF_NORMAL = 1, SF_GGUF_UNKNOWN, SF_GGUF_CONTROL, SF_GGUF_USER_DEFINED, SF_GGUF_UNUSED, SF_GGUF_BYTE };

/* A token whose text, on its own, says what it is. */
typedef struct sf_gguf_known {
    const char *text;
    int type;           /* CONTROL or USER_DEFINED, whatever the file says */
    bool ends;          /* an answer */
    const char *unless; /* but in a vocabulary that has this token it does not, and is text that the user may write */
} sf_gguf_known;

extern const sf_gguf_known sf_gguf_known_tokens[]; /* ends with a NULL text */

const sf_gguf_known *sf_gguf_find_known(const char *text, size_t bytes); /* NULL: not one of them */

/* What tokenizer.ggml.add_bos_token is where it is absent. */
bool sf_gguf_adds_bos(const char *model, const char *pre);

#endif
