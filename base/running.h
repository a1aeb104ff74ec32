/* Which hook of a method or a task runs right now: what a crash, an exit() or a wait without end is put down to. */
#ifndef SF_RUNNING_H
#define SF_RUNNING_H

/* Texts are copies, so that another process may read them. */
typedef struct sf_running {
    char what[80]; /* "method 'quest'"; "": none runs */
    char hook[16];
    char of[8];    /* what `number` counts: "layer", "sample" */
    int number;    /* -1: of none */
    double since;  /* sf_now() */
} sf_running;

/* Hook `hook` of the `kind` ("method", "task") `name` begins; number -1: of no layer or sample. */
void sf_running_enter(const char *kind, const char *name, const char *hook, const char *of, int number);
void sf_running_leave(void);

/* From now on it is noted there, in memory that the caller shares with others. NULL: in this process's own. */
void sf_running_note_in(volatile sf_running *shared);
/* "method 'x', prefill, layer 3"; "" where none runs. */
void sf_running_text(const volatile sf_running *running, char out[128]);

/* For programs: from now on a crash inside a hook says on stderr in which, before it ends the process as it would have; so
 * does a hook that calls exit(), which ends it with status 1, and a mapped file that another program cut short. */
void sf_name_crashes(void);

#endif
