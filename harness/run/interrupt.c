#include "harness/run/interrupt.h"

#include <unistd.h>

volatile sig_atomic_t sf_interrupted;
static volatile pid_t speaker; /* 0: no process */

static void on_signal(int number)
{
    static const char words[] = "\nfrontier: stopping after the samples at hand; once more to stop at once\n";
    (void)number;
    sf_interrupted = 1;
    if (getpid() == speaker && write(STDERR_FILENO, words, sizeof words - 1) < 0) return;
}

void sf_interrupt_watch(bool speaks, bool batch)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    speaker = speaks ? getpid() : 0;
    sigaction(SIGINT, &act, NULL);
    if (batch) act.sa_flags = 0;
    sigaction(SIGTERM, &act, NULL);
}
