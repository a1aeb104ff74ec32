#ifndef SF_HEAP_H
#define SF_HEAP_H

#include <stddef.h>

/* Memory that grows and is freed as one. */
typedef struct sf_heap {
    struct sf_heap_block *block;
} sf_heap;
void *sf_heap_alloc(sf_heap *arena, size_t bytes);                         /* zeroed; NULL: out of memory */
const char *sf_heap_text(sf_heap *arena, const char *text, size_t length); /* a copy, ended by 0 */
void sf_heap_free(sf_heap *arena);

#endif
