#include "tests/load/histogram.h"

#include <math.h>
#include <stddef.h>

#define SUB_BUCKETS (1U << HISTOGRAM_BITS)

/* Values below 2^BITS have a bucket each. Above, the BITS bits after the leading one choose. */
static size_t bucket_of(uint64_t value)
{
	unsigned octave;

	if (value < SUB_BUCKETS)
		return value;
	octave = 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
	return ((size_t)(octave + 1) << HISTOGRAM_BITS) + ((value >> octave) - SUB_BUCKETS);
}

static uint64_t middle_of(size_t bucket)
{
	unsigned octave;
	uint64_t lowest;

	if (bucket < SUB_BUCKETS)
		return bucket;
	octave = (unsigned)(bucket >> HISTOGRAM_BITS) - 1;
	lowest = (SUB_BUCKETS + (bucket & (SUB_BUCKETS - 1))) << octave;
	return lowest + ((UINT64_C(1) << octave) >> 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	if (h->count == 0 || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *h, const struct histogram *other)
{
	if (other->count == 0)
		return;
	if (h->count == 0 || other->min < h->min)
		h->min = other->min;
	if (other->max > h->max)
		h->max = other->max;
	h->count += other->count;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->buckets[i] += other->buckets[i];
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	if (value < low)
		return low;
	return value > high ? high : value;
}

uint64_t histogram_percentile(const struct histogram *h, double part)
{
	uint64_t rank, seen = 0;
	size_t i;

	if (h->count == 0)
		return 0;

	rank = clamp((uint64_t)ceil(part * (double)h->count), 1, h->count);
	/* The first and the last are known exactly. */
	if (rank == 1)
		return h->min;
	if (rank == h->count)
		return h->max;
	for (i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += h->buckets[i];
		if (seen >= rank)
			break;
	}
	return clamp(middle_of(i), h->min, h->max);
}
