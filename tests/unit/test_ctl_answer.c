#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/ctl_answer.h"

static void a_yes_has_no_exit_code_and_no_message(void **state)
{
	struct ctl_answer answer;

	assert_int_equal(ctl_answer_parse("{\"version\":1,\"ok\":true,\"n\":5}", &answer), 0);
	assert_int_equal(answer.exit_code, 0);
	assert_null(answer.message);
	assert_int_equal(json_integer_value(json_object_get(answer.whole, "n")), 5);
	ctl_answer_done(&answer);
}

static void a_refusal_has_both(void **state)
{
	struct ctl_answer answer;

	assert_int_equal(ctl_answer_parse("{\"version\":1,\"ok\":false,"
					  "\"error\":{\"exit\":77,\"message\":\"no\"}}",
					  &answer),
			 0);
	assert_int_equal(answer.exit_code, 77);
	assert_string_equal(answer.message, "no");
	ctl_answer_done(&answer);
}

static void what_is_no_answer_is_an_error(void **state)
{
	const char *const lines[] = {
		"",
		"hello",
		"[]",
		"{\"ok\":true}",
		"{\"version\":2,\"ok\":true}",
		"{\"version\":1}",
		"{\"version\":1,\"ok\":1}",
		"{\"version\":1,\"ok\":false}",
		"{\"version\":1,\"ok\":false,\"error\":{\"exit\":69}}",
		"{\"version\":1,\"ok\":false,\"error\":{\"message\":\"no\"}}",
		/* A refusal must not end us with success, or as if a signal had. */
		"{\"version\":1,\"ok\":false,\"error\":{\"exit\":0,\"message\":\"no\"}}",
		"{\"version\":1,\"ok\":false,\"error\":{\"exit\":256,\"message\":\"no\"}}",
		"{\"version\":1,\"ok\":false,\"error\":{\"exit\":139,\"message\":\"no\"}}",
	};
	struct ctl_answer answer;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_int_equal(ctl_answer_parse(lines[i], &answer), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_yes_has_no_exit_code_and_no_message),
		cmocka_unit_test(a_refusal_has_both),
		cmocka_unit_test(what_is_no_answer_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
