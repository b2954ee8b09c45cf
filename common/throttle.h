/* What may happen often and is not to be told each time: the first time at once, and then no more
 * often than every THROTTLE_MS, whatever is done to the wall clock.
 *
 * Source: common/clock.h. */
#ifndef USHER_COMMON_THROTTLE_H
#define USHER_COMMON_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_MS 10000

/* All fields are the module's own. Zero: nothing was told yet. */
struct throttle {
	bool used;
	int64_t last_ms;
};

/* Whether it may be told now; then it counts as told. */
bool throttle_lets(struct throttle *throttle);

#endif
