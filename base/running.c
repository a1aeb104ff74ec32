#include "base/running.h"

#include "base/clock.h"
#include "base/mapped.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The hook that runs; read by the signal handler, which may do little more than write(). One for all threads, since a hook may crash
 * in any; where ranks are threads it names one of them. */
static volatile sf_running here, *running = &here;

void sf_running_note_in(volatile sf_running *shared) { running = shared ? shared : &here; }

struct line {
    char text[400];
    size_t n;
};

static void append(struct line *line, const volatile char *text)
{
    while (*text && line->n + 1 < sizeof line->text) line->text[line->n++] = *text++;
    line->text[line->n] = 0;
}

static void copy(volatile char *to, size_t size, const char *text)
{
    size_t i = 0;
    for (; text[i] && i + 1 < size; i++) __atomic_store_n(&to[i], text[i], __ATOMIC_RELAXED);
    __atomic_store_n(&to[i], 0, __ATOMIC_RELAXED);
}

void sf_running_enter(const char *kind, const char *name, const char *hook, const char *of, int number)
{
    struct line what = {0};
    append(&what, kind);
    append(&what, " '");
    append(&what, name);
    append(&what, "'");
    copy(running->hook, sizeof running->hook, hook);
    copy(running->of, sizeof running->of, of);
    double now = sf_now();
    __atomic_store_n(&running->number, number, __ATOMIC_RELAXED);
    __atomic_store(&running->since, &now, __ATOMIC_RELAXED);
    copy(running->what, sizeof running->what, what.text);
}

void sf_running_leave(void) { __atomic_store_n(&running->what[0], 0, __ATOMIC_RELAXED); }

/* Nothing here may allocate or lock: a signal handler calls it. */
static void append_running(struct line *line, const volatile sf_running *r)
{
    char digits[12], *digit = digits + sizeof digits - 1;
    append(line, r->what);
    append(line, ", ");
    append(line, r->hook);
    if (r->number < 0) return;
    *digit = 0;
    for (int left = r->number; left >= 0; left = left >= 10 ? left / 10 : -1) *--digit = (char)('0' + left % 10);
    append(line, ", ");
    append(line, r->of);
    append(line, " ");
    append(line, digit);
}

void sf_running_text(const volatile sf_running *r, char out[128])
{
    struct line line = {0};
    if (r->what[0]) append_running(&line, r);
    copy(out, 128, line.text);
}

static void say(const char *begin, const char *end)
{
    struct line line = {0};
    append(&line, "\nfrontier: error: ");
    append(&line, begin);
    if (running->what[0]) append_running(&line, running);
    append(&line, end);
    append(&line, "\n");
    if (write(STDERR_FILENO, line.text, line.n) < 0) line.n = 0; /* nothing can be done about it */
}

static void name_crash(int signal, siginfo_t *info, void *context)
{
    (void)context;
    const char *file = signal == SIGBUS ? sf_mapped_at(info->si_addr) : NULL;
    if (file) {
        running->what[0] = 0; /* whoever read it */
        say(file, ": another program cut the file short while it was read; get it whole again, then run the same command");
    } else if (running->what[0]) {
        say("crashed in ", signal == SIGABRT ? " (it called abort())" : "");
    }
    raise(signal); /* SA_RESETHAND: ends the process when this returns */
}

static void name_exit(void)
{
    if (running != &here || !running->what[0]) return; /* of a process that another waits for, that one says it */
    fflush(stdout);
    say("", " ended the program with exit(); a hook that fails returns sf_fail(…) with the reason");
    _exit(EXIT_FAILURE);
}

void sf_name_crashes(void)
{
    static char stack[1 << 16]; /* its own, for hooks that ran out of theirs */
    static const int crash[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    for (size_t i = 0; i < sizeof crash / sizeof *crash; i++) {
        struct sigaction before, action = {.sa_sigaction = name_crash, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK};
        if (sigaction(crash[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(crash[i], &action, NULL);
    }
    atexit(name_exit);
}
