#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config_errors.h"

static struct config_errors errors;

static int empty_list(void **state)
{
	config_errors_done(&errors);
	return 0;
}

static void add(const char *file, unsigned int rank, unsigned int line, unsigned int column,
		const char *text)
{
	struct config_mark mark = {.file = file, .rank = rank, .line = line, .column = column};

	config_errors_add(&errors, &mark, "%s", text);
}

static void assert_printed(const char *expected)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(config_errors_print(&errors, out), 0);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void complaints_are_sorted_by_file_line_and_column(void **state)
{
	add("a.yaml", 1, 1, 1, "fifth");
	add("z.yaml", 0, 10, 1, "fourth");
	add("z.yaml", 0, 9, 10, "third");
	add("z.yaml", 0, 9, 2, "second");
	add("z.yaml", 0, 0, 0, "first");

	assert_printed("z.yaml: first\n"
		       "z.yaml:9:2: second\n"
		       "z.yaml:9:10: third\n"
		       "z.yaml:10:1: fourth\n"
		       "a.yaml:1:1: fifth\n");
}

static void complaints_about_one_place_keep_their_order(void **state)
{
	add("a.yaml", 0, 1, 1, "first");
	add("a.yaml", 0, 1, 1, "second");
	assert_printed("a.yaml:1:1: first\na.yaml:1:1: second\n");
}

static void of_too_many_the_first_by_place_are_kept_and_the_rest_counted(void **state)
{
	for (unsigned int line = CONFIG_ERRORS_MAX + 10; line > 0; line--)
		add("a.yaml", 0, line, 1, "text");

	assert_int_equal(config_errors_count(&errors), CONFIG_ERRORS_MAX + 10);
	assert_int_equal(errors.count, CONFIG_ERRORS_MAX);
	assert_int_equal(errors.dropped, 10);
	assert_int_equal(errors.list[0].mark.line, 1);
	assert_int_equal(errors.list[CONFIG_ERRORS_MAX - 1].mark.line, CONFIG_ERRORS_MAX);
}

static void control_characters_never_reach_a_terminal(void **state)
{
	add("a.yaml", 0, 1, 1, "x\033[2Jy\nz\177 \302\233 m\303\274ll");
	add("b\n.yaml", 1, 0, 0, "text");
	assert_printed("a.yaml:1:1: x?[2Jy?z? ?? m\303\274ll\nb?.yaml: text\n");
}

static void file_name_may_go_away_after_the_complaint(void **state)
{
	char name[] = "a.yaml";

	add(name, 0, 1, 1, "text");
	memset(name, 'x', strlen(name));
	assert_printed("a.yaml:1:1: text\n");
}

static void full_device_is_reported(void **state)
{
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	add("a.yaml", 0, 1, 1, "text");
	assert_int_equal(config_errors_print(&errors, full), -EIO);
	fclose(full);
}

#define TEST(function) cmocka_unit_test_teardown(function, empty_list)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(complaints_are_sorted_by_file_line_and_column),
		TEST(complaints_about_one_place_keep_their_order),
		TEST(of_too_many_the_first_by_place_are_kept_and_the_rest_counted),
		TEST(control_characters_never_reach_a_terminal),
		TEST(file_name_may_go_away_after_the_complaint),
		TEST(full_device_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
