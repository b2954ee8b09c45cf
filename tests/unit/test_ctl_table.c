#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/ctl_table.h"

static const struct ctl_column columns[] = {{"NAME", false}, {"N", true}, {"NOTE", false}};

static void expect(struct ctl_table *t, const char *expected)
{
	char text[1024] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_int_equal(ctl_table_print(t, out), 0);
	fclose(out);
	ctl_table_done(t);
	assert_string_equal(text, expected);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	struct ctl_table t;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	ctl_table_add(&t, "%s", "a");
	ctl_table_add(&t, "%d", 1000);
	ctl_table_add(&t, "first");
	ctl_table_add(&t, "longer");
	ctl_table_add(&t, "7");
	ctl_table_add(&t, "%s", "");
	expect(&t, "NAME       N  NOTE\n"
		   "a       1000  first\n"
		   "longer     7  \n");
}

static void an_empty_table_is_its_heads(void **state)
{
	struct ctl_table t;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	expect(&t, "NAME  N  NOTE\n");
}

static void letters_count_not_bytes(void **state)
{
	struct ctl_table t;

	ctl_table_init(&t, columns, 2);
	ctl_table_add(&t, "gr\xc3\xbc\xc3\x9f"
			  "e");
	ctl_table_add(&t, "1");
	expect(&t, "NAME   N\n"
		   "gr\xc3\xbc\xc3\x9f"
		   "e  1\n");
}

static void a_cell_cannot_steer_the_terminal(void **state)
{
	struct ctl_table t;

	ctl_table_init(&t, columns, 1);
	ctl_table_add(&t, "a\x1b[2J\n\x7f");
	expect(&t, "NAME\na?[2J??\n");
}

static void a_row_that_is_not_whole_is_left_out(void **state)
{
	struct ctl_table t;

	ctl_table_init(&t, columns, 2);
	ctl_table_add(&t, "half");
	expect(&t, "NAME  N\n");
}

static void a_full_disk_is_an_error(void **state)
{
	FILE *full = fopen("/dev/full", "w");
	struct ctl_table t;

	setvbuf(full, NULL, _IONBF, 0);
	ctl_table_init(&t, columns, 1);
	assert_int_equal(ctl_table_print(&t, full), -EIO);
	ctl_table_done(&t);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(an_empty_table_is_its_heads),
		cmocka_unit_test(letters_count_not_bytes),
		cmocka_unit_test(a_cell_cannot_steer_the_terminal),
		cmocka_unit_test(a_row_that_is_not_whole_is_left_out),
		cmocka_unit_test(a_full_disk_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
