#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/load/pattern.h"

#define LONGEST 200000

static char copy[LONGEST];

static int make_pattern(void **state)
{
	return pattern_init(LONGEST);
}

static void take_copy(uint64_t position)
{
	memcpy(copy, pattern_at(position), LONGEST);
}

static void pieces_of_any_size_match_where_they_are_from(void **state)
{
	take_copy(12345678901);
	for (size_t size = 0; size <= LONGEST; size = size * 3 + 1)
		assert_true(pattern_matches(12345678901 + 100, copy + 100,
					    size > 100 ? size - 100 : 0));
	assert_true(pattern_matches(12345678901, copy, LONGEST));
}

static void one_changed_bit_is_seen_wherever_it_is(void **state)
{
	take_copy(77);
	for (size_t i = 0; i < LONGEST; i += 1013) {
		copy[i] ^= 16;
		assert_false(pattern_matches(77, copy, LONGEST));
		copy[i] ^= 16;
	}
	copy[LONGEST - 1] ^= 1;
	assert_false(pattern_matches(77, copy, LONGEST));
}

/* What a server would do that sends a block again or leaves one out. */
static void bytes_from_elsewhere_are_seen(void **state)
{
	take_copy(0);
	for (uint64_t block = 1; block < LONGEST; block *= 2)
		assert_false(pattern_matches(block, copy, 64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_of_any_size_match_where_they_are_from),
		cmocka_unit_test(one_changed_bit_is_seen_wherever_it_is),
		cmocka_unit_test(bytes_from_elsewhere_are_seen),
	};

	return cmocka_run_group_tests(tests, make_pattern, NULL);
}
