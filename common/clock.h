/* Milliseconds that never go back, the same for every process of the machine: what a supervisor
 * says is valid until then, a worker finds valid until then. How long something took or lasts is
 * never told by ev_now(), which jumps when the wall clock is set.
 *
 * Source: clock_gettime(2), CLOCK_MONOTONIC. */
#ifndef USHER_COMMON_CLOCK_H
#define USHER_COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
