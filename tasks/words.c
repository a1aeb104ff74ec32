#include "tasks/words.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/embed.h"

SF_EMBED(list, "tasks/data/words.txt");

enum { MOST = 1 << 15 };
static char word[MOST][11]; /* [count], NUL-terminated */
static int count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void split(void)
{
    for (const char *at = list, *newline; (newline = memchr(at, '\n', (size_t)(list_end - at))); at = newline + 1) {
        assert(count < MOST && newline - at < (int)sizeof word[0]);
        memcpy(word[count++], at, (size_t)(newline - at));
    }
}

int sf_word_count(void)
{
    pthread_once(&once, split);
    return count;
}

const char *sf_word(int i)
{
    assert(i >= 0 && i < sf_word_count());
    return word[i];
}
