#include "tests/load/pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A prime: whatever a server shifts or repeats by, blocks of memory above all, is noticed. */
#define PERIOD 65521

#define COMPARED_AT_ONCE 65536

static char *bytes;

int pattern_init(size_t longest)
{
	size_t size = PERIOD + (longest > COMPARED_AT_ONCE ? longest : COMPARED_AT_ONCE);
	uint32_t x = 2463534242;

	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;

	for (size_t i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		bytes[i] = (char)(x >> 8);
	}
	for (size_t i = PERIOD; i < size; i++)
		bytes[i] = bytes[i - PERIOD];
	return 0;
}

const char *pattern_at(uint64_t position)
{
	return bytes + position % PERIOD;
}

bool pattern_matches(uint64_t position, const void *data, size_t size)
{
	const char *rest = data;

	while (size > 0) {
		size_t n = size < COMPARED_AT_ONCE ? size : COMPARED_AT_ONCE;

		if (memcmp(rest, pattern_at(position), n) != 0)
			return false;
		position += n;
		rest += n;
		size -= n;
	}
	return true;
}
