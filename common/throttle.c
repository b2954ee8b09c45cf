#include "common/throttle.h"

#include "common/clock.h"

bool throttle_lets(struct throttle *t)
{
	int64_t now_ms = clock_ms();

	if (t->used && now_ms - t->last_ms < THROTTLE_MS)
		return false;
	t->used = true;
	t->last_ms = now_ms;
	return true;
}
