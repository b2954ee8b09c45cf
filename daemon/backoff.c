#include "daemon/backoff.h"

#include <stdlib.h>
#include <sys/random.h>

/* Up to range - 1. Without a source of chance there is no jitter, and no harm. */
static unsigned int random_below(unsigned int range)
{
	unsigned int number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
		return 0;
	return number % range;
}

unsigned int backoff_ms(unsigned int quick_deaths)
{
	unsigned int delay_ms = BACKOFF_FIRST_MS;

	if (quick_deaths < 2)
		return 0;
	for (unsigned int i = 2; i < quick_deaths && delay_ms < BACKOFF_LIMIT_MS; i++)
		delay_ms *= 2;
	if (delay_ms > BACKOFF_LIMIT_MS)
		delay_ms = BACKOFF_LIMIT_MS;
	return delay_ms - random_below(delay_ms / 2);
}
