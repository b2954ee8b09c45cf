/* Whole numbers in text: digits alone, no sign, no blanks, which strtoull() would let through.
 *
 * Errors: -EINVAL for anything else, -ERANGE above max; *ret is then untouched.
 * Source: strtoull(3). */
#ifndef USHER_COMMON_NUMBER_H
#define USHER_COMMON_NUMBER_H

#include <stdint.h>

int number_parse(const char *text, uint64_t max, uint64_t *ret);

#endif
