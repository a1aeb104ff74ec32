/* How every fallible function of Frontier says what went wrong.
 *
 * A function that can fail returns an sf_status. Where it fails first, it calls sf_fail() with a message that names
 * what was expected, what was found, where (file, key, tensor, line) and what to do; callers pass the status up, and may
 * put their own place in front with sf_blame(). The command line prints sf_error() once and exits non-zero. */
#ifndef SF_STATUS_H
#define SF_STATUS_H

typedef enum sf_status {
    SF_OK = 0,
    SF_BAD_INPUT,   /* a file, config, plug-in or argument is not what it must be */
    SF_IO,          /* the system refused: missing file, permission, full disk */
    SF_NO_MEMORY,   /* host or device memory */
    SF_UNSUPPORTED, /* valid, but this build, backend or device cannot do it */
    SF_INTERNAL,    /* a broken promise inside Frontier itself */
    SF_INTERRUPTED, /* the user asked to stop */
} sf_status;

/* Records the message for this thread and returns `code`, so that `return sf_fail(SF_IO, "...")` is one line. */
sf_status sf_fail(sf_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " in front of this thread's message and returns `code` unchanged; does nothing for SF_OK. */
sf_status sf_blame(sf_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last message of this thread; "" before any failure. Valid until the thread's next failure. */
const char *sf_error(void);

/* For a chain of fallible steps with one clean-up label. */
#define SF_TRY(call)                                                                                                   \
    do {                                                                                                               \
        sf_status sf_try_ = (call);                                                                                    \
        if (sf_try_ != SF_OK) return sf_try_;                                                                          \
    } while (0)

#endif
