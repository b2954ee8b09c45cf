#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/utf8.h"

/* As it is, and as it is shown. */
static const char *const texts[][2] = {
	{"", ""},
	{"/etc/usher.yaml", "/etc/usher.yaml"},
	{"/etc/t\xc3\xbcr.yaml", "/etc/t\xc3\xbcr.yaml"},
	{"/etc/t\xfcr.yaml", "/etc/t?r.yaml"},
	{"\xc3\xbc\xff", "???"},
	{"\xed\xa0\x80", "???"}, /* a surrogate */
};

static void what_is_no_utf8_has_question_marks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		json_t *string = utf8_json(texts[i][0]);
		char text[32];

		strcpy(text, texts[i][0]);
		utf8_mend(text);
		assert_string_equal(text, texts[i][1]);
		assert_string_equal(json_string_value(string), texts[i][1]);
		json_decref(string);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_utf8_has_question_marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
