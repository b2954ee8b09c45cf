/* The clock of the load tests: nanoseconds that never go back. */
#ifndef USHER_TESTS_LOAD_CLOCK_H
#define USHER_TESTS_LOAD_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_OF_A_SECOND UINT64_C(1000000000)

static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_OF_A_SECOND + (uint64_t)now.tv_nsec;
}

#endif
