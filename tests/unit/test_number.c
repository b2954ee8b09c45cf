#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/number.h"

static void digits_are_read(void **state)
{
	uint64_t number = 0;

	assert_int_equal(number_parse("0", 10, &number), 0);
	assert_int_equal(number, 0);
	assert_int_equal(number_parse("007", 10, &number), 0);
	assert_int_equal(number, 7);
	assert_int_equal(number_parse("18446744073709551615", UINT64_MAX, &number), 0);
	assert_true(number == UINT64_MAX);
}

static void anything_but_digits_is_refused_and_changes_nothing(void **state)
{
	const char *const texts[] = {"", " 1", "1 ", "-1", "+1", "0x10", "1e3", "one", "1\n"};
	uint64_t number = 42;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(number_parse(texts[i], UINT64_MAX, &number), -EINVAL);
	assert_int_equal(number, 42);
}

static void numbers_above_the_limit_are_out_of_range(void **state)
{
	uint64_t number = 42;

	assert_int_equal(number_parse("10", 10, &number), 0);
	assert_int_equal(number_parse("11", 10, &number), -ERANGE);
	assert_int_equal(number_parse("18446744073709551616", UINT64_MAX, &number), -ERANGE);
	assert_int_equal(number, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_are_read),
		cmocka_unit_test(anything_but_digits_is_refused_and_changes_nothing),
		cmocka_unit_test(numbers_above_the_limit_are_out_of_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
