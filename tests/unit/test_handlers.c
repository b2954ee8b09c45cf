#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/handlers.h"
#include "common/macros.h"

static void every_kind_is_found_by_its_name(void **state)
{
	for (unsigned int kind = 0; kind < HANDLER_KIND_END; kind++) {
		enum handler_kind found = HANDLER_KIND_END;

		assert_int_equal(handler_find(handler_name(kind), &found), 0);
		assert_int_equal(found, kind);
	}
}

static void unknown_name_is_not_found(void **state)
{
	enum handler_kind found = HANDLER_KIND_END;

	assert_int_equal(handler_find("ech", &found), -ENOENT);
	assert_int_equal(handler_find("", &found), -ENOENT);
	assert_int_equal(found, HANDLER_KIND_END);
}

static void number_that_is_no_kind_has_a_name_for_the_log(void **state)
{
	assert_string_equal(handler_name(HANDLER_KIND_END), "?");
	assert_string_equal(handler_name(UINT32_MAX), "?");
}

static void reply_alone_takes_a_text(void **state)
{
	assert_true(handler_takes_text(HANDLER_REPLY));
	assert_false(handler_takes_text(HANDLER_ECHO));
	assert_false(handler_takes_text(HANDLER_DISCARD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_is_found_by_its_name),
		cmocka_unit_test(unknown_name_is_not_found),
		cmocka_unit_test(number_that_is_no_kind_has_a_name_for_the_log),
		cmocka_unit_test(reply_alone_takes_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
