/* Time as a program measures it, and as people read it. */
#ifndef SF_CLOCK_H
#define SF_CLOCK_H

double sf_now(void); /* seconds on a clock that only goes forward */

/* "4m 05s", "2h 10m", "12.3s" */
void sf_duration(double seconds, char out[32]);

#endif
