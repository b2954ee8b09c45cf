/* A process that is woken and does not come to run: the moment between the two, in which it may
 * lose what it was woken for, lasts until starve_end().
 *
 * One that is stopped will not do: a signal takes it out of the queue of those that sleep. So it
 * gets the lowest scheduling class on a processor that another process keeps busy.
 *
 * Owns:   the busy process, which ends with the test in any case.
 * Errors: what cannot be set fails the test through cmocka.
 * Source: sched(7), SCHED_IDLE; the classes compare within one session alone. */
#ifndef USHER_TESTS_HELPERS_STARVE_H
#define USHER_TESTS_HELPERS_STARVE_H

#include <stdbool.h>
#include <sys/types.h>

struct starve {
	pid_t victim;
	pid_t busy;
};

/* Waits until the victim sleeps. From then on it does not run, or hardly. */
void starve_begin(struct starve *starve, pid_t victim);

/* Whether it has been woken and has not run since. */
bool starve_is_woken(const struct starve *starve);

/* Lets it run. */
void starve_end(struct starve *starve);

#endif
