/* Preloaded: lets one allocation fail that the program itself asks for; those of its libraries succeed.
 *
 *   FAULT_AT      the how manieth fails, from 1 on
 *   FAULT_WHERE   a file that receives "NUMBER OFFSET": which failed, and the caller's place in the program, for addr2line
 *   FAULT_COUNTS  a file that receives "alloc COUNT" when the program ends */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own: dlsym() would allocate before there is anything to allocate with. */
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

static atomic_long count;
static long at;
static bool ready;
static uintptr_t base, low = UINTPTR_MAX, high;

/* The program is the first object of the list. */
static int look(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD) continue;
        uintptr_t from = base + part->p_vaddr, to = from + part->p_memsz;
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *place = getenv("FAULT_AT");
    at = place ? atol(place) : 0;
    dl_iterate_phdr(look, NULL);
    ready = strcmp(program_invocation_short_name, "frontier") == 0; /* not what it starts */
}

/* By hand: nothing here may allocate. */
static void say(const char *variable, long a, const char *word, long b)
{
    const char *path = getenv(variable);
    char line[96];
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd < 0) return;
    int n = word ? snprintf(line, sizeof line, "%s %ld\n", word, b) : snprintf(line, sizeof line, "%ld 0x%lx\n", a, b);
    if (write(fd, line, (size_t)n) < 0) n = 0;
    close(fd);
}

__attribute__((destructor)) static void end(void)
{
    if (!ready) return;
    ready = false;
    say("FAULT_COUNTS", 0, "alloc", (long)count);
}

static bool fails(void *caller)
{
    uintptr_t from = (uintptr_t)caller;
    if (!ready || from < low || from >= high) return false;
    long n = ++count;
    if (n != at) return false;
    say("FAULT_WHERE", n, NULL, (long)(from - base));
    errno = ENOMEM;
    return true;
}

#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t n) { return FAILS ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t bytes) { return FAILS ? NULL : __libc_calloc(n, bytes); }
void *realloc(void *p, size_t n) { return FAILS ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t to, size_t n) { return FAILS ? NULL : __libc_memalign(to, n); }

int posix_memalign(void **out, size_t to, size_t n)
{
    if (FAILS) return ENOMEM;
    *out = __libc_memalign(to, n);
    return *out ? 0 : ENOMEM;
}

static char *copy(const char *text, size_t n)
{
    char *p = __libc_malloc(n + 1);
    if (!p) return NULL;
    memcpy(p, text, n);
    p[n] = 0;
    return p;
}

char *(strdup)(const char *text) { return FAILS ? NULL : copy(text, strlen(text)); }
char *(strndup)(const char *text, size_t most) { return FAILS ? NULL : copy(text, strnlen(text, most)); }

static int print(char **out, const char *format, va_list args)
{
    return ((int (*)(char **, const char *, va_list))dlsym(RTLD_NEXT, "vasprintf"))(out, format, args);
}

/* Of each a twin, which a compiler that fortifies (_FORTIFY_SOURCE, some distributions' default) calls instead. */
int __vasprintf_chk(char **out, int level, const char *format, va_list args);
int __asprintf_chk(char **out, int level, const char *format, ...);

int vasprintf(char **out, const char *format, va_list args)
{
    return FAILS ? *out = NULL, -1 : print(out, format, args);
}

int __vasprintf_chk(char **out, int level, const char *format, va_list args)
{
    (void)level;
    return FAILS ? *out = NULL, -1 : print(out, format, args);
}

#define PRINT                                                                                                          \
    if (FAILS) return *out = NULL, -1;                                                                                 \
    va_list args;                                                                                                      \
    va_start(args, format);                                                                                            \
    int n = print(out, format, args);                                                                                  \
    va_end(args);                                                                                                      \
    return n

int asprintf(char **out, const char *format, ...) { PRINT; }
int __asprintf_chk(char **out, int level, const char *format, ...) { (void)level; PRINT; }

FILE *open_memstream(char **text, size_t *bytes)
{
    return FAILS ? NULL : ((FILE * (*)(char **, size_t *)) dlsym(RTLD_NEXT, "open_memstream"))(text, bytes);
}
