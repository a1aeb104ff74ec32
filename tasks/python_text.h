/* Texts out of a Python source: what suites keep their prompts in. */
#ifndef SF_PYTHON_TEXT_H
#define SF_PYTHON_TEXT_H

#include "base/status.h"

/* The string that is assigned to key[0], or that stands in the dictionary assigned to it under key[1], and so on; `key`
 * ends with NULL. key[0] may be FUNCTION.NAME, an assignment behind where the function begins, and NAME#2, the third one. Literals that stand side by side are one, of a tuple the first counts; an f-string keeps its fields, in braces. malloc'ed. `path` is
 * for messages. Error: no such assignment or key, or something else than string literals there. */
sf_status sf_python_text(const char *source, const char *path, const char *const *key, char **out);

/* The same of a file. */
sf_status sf_python_file_text(const char *path, const char *const *key, char **out);

#endif
