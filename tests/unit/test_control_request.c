#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/control_request.h"

static void accepts(const char *line)
{
	char complaint[CONTROL_COMPLAINT_SIZE] = "";
	json_t *request = NULL;

	assert_int_equal(control_request_parse(line, strlen(line), &request, complaint), 0);
	assert_string_equal(complaint, "");
	assert_true(json_is_object(request));
	json_decref(request);
}

static void refuses_bytes(const char *line, size_t size, const char *because)
{
	char complaint[CONTROL_COMPLAINT_SIZE] = "";
	json_t *request = NULL;

	assert_int_equal(control_request_parse(line, size, &request, complaint), -EINVAL);
	assert_null(request);
	if (!strstr(complaint, because))
		fail_msg("\"%s\" is not in \"%s\"", because, complaint);
}

static void refuses(const char *line, const char *because)
{
	refuses_bytes(line, strlen(line), because);
}

static void every_command_is_understood(void **state)
{
	accepts("{\"version\":1,\"command\":\"status\"}");
	accepts("{\"version\":1,\"command\":\"connections\"}");
	accepts("{\"version\":1,\"command\":\"connections\",\"listener\":\"echo\"}");
	accepts("{\"version\":1,\"command\":\"list\"}");
	accepts("{\"version\":1,\"command\":\"list\",\"worker\":4294967295,"
		"\"listener\":\"echo\",\"before\":9223372036854775807}");
	accepts("{\"version\":1,\"command\":\"worker\",\"worker\":7,\"action\":\"drain\"}");
	accepts("{\"version\":1,\"command\":\"worker\",\"worker\":7,\"action\":\"undrain\"}");
	accepts("{\"version\":1,\"command\":\"scale\",\"workers\":4}");
	accepts(" { \"command\" : \"stop\" , \"version\" : 1 } ");
}

static void what_is_no_json_object_is_refused(void **state)
{
	refuses("", "not JSON");
	refuses("hello", "not JSON");
	refuses("{\"version\":1,", "not JSON");
	refuses("[1]", "not a JSON object");
	refuses("{\"version\":1,\"command\":\"stop\"} {}", "not JSON");
	refuses("{\"version\":1,\"version\":1,\"command\":\"stop\"}", "not JSON");
	refuses_bytes("{\"version\":1,\"command\":\"st\0op\"}", 32, "not JSON");
	refuses("{\"version\":1,\"command\":\"\xff\xfe\"}", "not JSON");
}

static void another_version_is_refused(void **state)
{
	refuses("{\"command\":\"status\"}", "no \"version\"");
	refuses("{\"version\":\"1\",\"command\":\"status\"}", "no \"version\"");
	refuses("{\"version\":2,\"command\":\"status\"}", "version 2");
	refuses("{\"version\":1.0,\"command\":\"status\"}", "no \"version\"");
}

static void unknown_commands_are_refused_with_a_suggestion(void **state)
{
	refuses("{\"version\":1}", "no \"command\"");
	refuses("{\"version\":1,\"command\":7}", "no \"command\"");
	refuses("{\"version\":1,\"command\":\"statsu\"}",
		"no command \"statsu\"; did you mean \"status\"?");
	refuses("{\"version\":1,\"command\":\"dance\"}", "no command \"dance\"");
}

static void unknown_fields_are_refused(void **state)
{
	refuses("{\"version\":1,\"command\":\"status\",\"listener\":\"echo\"}",
		"\"status\" takes no field \"listener\"");
	refuses("{\"version\":1,\"command\":\"scale\",\"worker\":3}",
		"\"scale\" takes no field \"worker\"");
	refuses("{\"version\":1,\"command\":\"list\",\"workers\":3}",
		"\"list\" takes no field \"workers\"");
}

static void fields_have_their_type_and_range(void **state)
{
	char line[512], name[CONTROL_NAME_MAX + 2];

	refuses("{\"version\":1,\"command\":\"scale\"}", "needs the field \"workers\"");
	refuses("{\"version\":1,\"command\":\"scale\",\"workers\":0}", "from 1 to");
	refuses("{\"version\":1,\"command\":\"scale\",\"workers\":-1}", "from 1 to");
	refuses("{\"version\":1,\"command\":\"scale\",\"workers\":1025}", "from 1 to 1024");
	refuses("{\"version\":1,\"command\":\"scale\",\"workers\":\"4\"}", "from 1 to");
	refuses("{\"version\":1,\"command\":\"scale\",\"workers\":99999999999999999999}",
		"not JSON");
	refuses("{\"version\":1,\"command\":\"worker\",\"worker\":7}",
		"\"worker\" needs the field \"action\"");
	refuses("{\"version\":1,\"command\":\"worker\",\"action\":\"drain\"}",
		"\"worker\" needs the field \"worker\"");
	refuses("{\"version\":1,\"command\":\"worker\",\"worker\":7,\"action\":\"rest\"}",
		"must be \"drain\" or \"undrain\"");
	refuses("{\"version\":1,\"command\":\"list\",\"worker\":0}", "\"worker\" must be");
	refuses("{\"version\":1,\"command\":\"list\",\"worker\":4294967296}",
		"from 1 to 4294967295");
	refuses("{\"version\":1,\"command\":\"list\",\"worker\":1,\"before\":-5}",
		"\"before\" must be");
	refuses("{\"version\":1,\"command\":\"connections\",\"listener\":\"\"}", "1 to 255");
	refuses("{\"version\":1,\"command\":\"connections\",\"listener\":null}", "1 to 255");

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(line, sizeof(line),
		 "{\"version\":1,\"command\":\"connections\",\"listener\":\"%s\"}", name);
	refuses(line, "1 to 255");
}

/* What goes to a terminal must not steer it. */
static void complaints_are_short_and_printable(void **state)
{
	char complaint[CONTROL_COMPLAINT_SIZE];
	char line[4000];
	json_t *request;
	int size = snprintf(line, sizeof(line),
			    "{\"version\":1,\"command\":\"\\u001b[2J\xc3\xa9%03000d\"}", 0);

	assert_int_equal(control_request_parse(line, (size_t)size, &request, complaint), -EINVAL);
	assert_true(strlen(complaint) < 100);
	for (const char *c = complaint; *c; c++)
		assert_in_range(*c, ' ', '~');
}

/* A whole request, damaged at each place by each of some bytes, is refused or still fine. */
static void damaged_requests_do_no_harm(void **state)
{
	const char whole[] = "{\"version\":1,\"command\":\"connections\",\"listener\":\"echo\"}";
	const char bytes[] = {0, '"', '{', '}', '\\', ',', '9', '\n', '\x80', '\xff'};
	char complaint[CONTROL_COMPLAINT_SIZE];

	for (size_t i = 0; i < sizeof(whole) - 1; i++) {
		for (size_t b = 0; b < ARRAY_LEN(bytes); b++) {
			AUTO_FREE char *line = malloc(sizeof(whole) - 1); /* no zero behind it */
			json_t *request = NULL;

			assert_non_null(line);
			memcpy(line, whole, sizeof(whole) - 1);
			line[i] = bytes[b];
			if (control_request_parse(line, sizeof(whole) - 1, &request, complaint) ==
			    0)
				json_decref(request);
			else
				assert_non_null(memchr(complaint, '\0', sizeof(complaint)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_is_understood),
		cmocka_unit_test(what_is_no_json_object_is_refused),
		cmocka_unit_test(another_version_is_refused),
		cmocka_unit_test(unknown_commands_are_refused_with_a_suggestion),
		cmocka_unit_test(unknown_fields_are_refused),
		cmocka_unit_test(fields_have_their_type_and_range),
		cmocka_unit_test(complaints_are_short_and_printable),
		cmocka_unit_test(damaged_requests_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
