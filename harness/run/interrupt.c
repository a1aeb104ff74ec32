#include "harness/run/interrupt.h"

#include <unistd.h>

volatile sig_atomic_t sf_interrupted;
static bool silent;

static void on_signal(int number)
{
    static const char words[] = "\nfrontier: stopping after the samples at hand; once more to stop at once\n";
    (void)number;
    sf_interrupted = 1;
    if (!silent && write(STDERR_FILENO, words, sizeof words - 1) < 0) return;
}

void sf_interrupt_watch(bool batch)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
    if (batch) act.sa_flags = 0;
    sigaction(SIGTERM, &act, NULL);
}

void sf_interrupt_silence(void) { silent = true; }
