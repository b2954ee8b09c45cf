/* The bytes that are sent: a fixed sequence of pseudo-random ones, endless, so that every position
 * of every connection has its own, and what comes back can be compared with it.
 *
 * Owns:   the bytes, until the process ends.
 * Errors: pattern_init() returns 0 or -ENOMEM. */
#ifndef USHER_TESTS_LOAD_PATTERN_H
#define USHER_TESTS_LOAD_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* longest: how many bytes pattern_at() gives in one piece. */
int pattern_init(size_t longest);

const char *pattern_at(uint64_t position);
bool pattern_matches(uint64_t position, const void *data, size_t size);

#endif
