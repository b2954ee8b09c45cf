/* Counts of values in log-linear buckets: what latencies are recorded in.
 *
 * Any 64-bit value is taken. A bucket is at most 1/128 of its values wide, and a percentile is the
 * middle of its bucket, so that it is less than 0.4 % off; min and max are exact. The struct has no
 * pointers: it may lie in memory that processes share, and a copy of it is a histogram.
 *
 * Owns:   nothing. A zeroed struct is an empty histogram.
 * Errors: none of these functions fails.
 * Source: the layout follows the idea of HdrHistogram (Gil Tene). */
#ifndef USHER_TESTS_LOAD_HISTOGRAM_H
#define USHER_TESTS_LOAD_HISTOGRAM_H

#include <stdint.h>

/* 2^7 buckets for each power of two from 2^7 on, and one for each value below. */
#define HISTOGRAM_BITS    7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
	uint64_t count;
	uint64_t min; /* of no meaning while count is 0, like max */
	uint64_t max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* Adds all that other counted. */
void histogram_merge(struct histogram *h, const struct histogram *other);

/* The smallest recorded value that at least this part (0 to 1) of all are not above; 0 when there
 * is none. */
uint64_t histogram_percentile(const struct histogram *h, double part);

#endif
