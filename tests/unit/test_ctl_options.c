#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/ctl_options.h"

#define WORDS_MAX 16

/* Splits a command line at its blanks. */
static int parse(const char *line, struct ctl_options *options, char *complaint)
{
	static char copy[512];
	char *argv[WORDS_MAX + 1] = {(char[]){"usherctl"}};
	char *rest = copy;
	int argc = 1;

	strcpy(copy, line);
	for (char *word; (word = strsep(&rest, " ")) && *word; argv[argc] = NULL)
		argv[argc++] = word;
	return ctl_options_parse(argc, argv, options, complaint);
}

static struct ctl_options accepts(const char *line)
{
	struct ctl_options options = {0};
	char complaint[CTL_COMPLAINT_SIZE] = "";

	if (parse(line, &options, complaint) < 0)
		fail_msg("\"%s\": %s", line, complaint);
	return options;
}

static void refuses(const char *line, const char *expected)
{
	struct ctl_options options;
	char complaint[CTL_COMPLAINT_SIZE] = "";

	assert_int_equal(parse(line, &options, complaint), -EINVAL);
	assert_string_equal(complaint, expected);
}

static void a_verb_alone_asks_with_the_defaults(void **state)
{
	struct ctl_options options = accepts("status");

	assert_int_equal(options.wish, CTL_ASK);
	assert_string_equal(options.verb->name, "status");
	assert_null(options.operands[0]);
	assert_null(options.socket);
	assert_null(options.config);
	assert_false(options.json);
	assert_int_equal(options.timeout_ms, 10000);
}

static void options_may_stand_before_and_behind_the_verb(void **state)
{
	struct ctl_options options = accepts("-s /a --json connections --timeout 3 echo");

	assert_string_equal(options.verb->name, "connections");
	assert_string_equal(options.operands[0], "echo");
	assert_string_equal(options.socket, "/a");
	assert_true(options.json);
	assert_int_equal(options.timeout_ms, 3000);

	options = accepts("connections echo --config=/b.yaml");
	assert_string_equal(options.operands[0], "echo");
	assert_string_equal(options.config, "/b.yaml");
}

static void help_and_version_need_no_verb(void **state)
{
	assert_int_equal(accepts("-v").wish, CTL_VERSION);
	assert_int_equal(accepts("--version").wish, CTL_VERSION);
	assert_int_equal(accepts("-V").wish, CTL_BUILD);
	assert_int_equal(accepts("--help").wish, CTL_HELP);
	assert_null(accepts("-h").verb);
	assert_string_equal(accepts("scale --help").verb->name, "scale"); /* and no number */
	assert_string_equal(accepts("--help stop").verb->name, "stop");
}

static void unknown_verbs_are_refused_with_a_suggestion(void **state)
{
	refuses("", "a verb is missing");
	refuses("statsu", "no verb \"statsu\"; did you mean \"status\"?");
	refuses("dance", "no verb \"dance\"");
	refuses("--help dance", "no verb \"dance\"");
}

static void unknown_options_and_missing_values_are_refused(void **state)
{
	refuses("-x status", "unknown option -x");
	refuses("--jsn status", "unknown or unclear option --jsn");
	refuses("--json=1 status", "unknown or unclear option --json=1");
	refuses("status -s", "option -s needs a value");
	refuses("status --timeout", "option --timeout needs a value");
	refuses("-s /a -c /b status", "-s and -c both name the socket; give one of them");
}

static void timeouts_have_a_range(void **state)
{
	assert_int_equal(accepts("--timeout 3600 status").timeout_ms, 3600000);
	refuses("--timeout 3601 status",
		"--timeout takes whole seconds from 1 to 3600, not \"3601\"");
	refuses("--timeout 0 status", "--timeout takes whole seconds from 1 to 3600, not \"0\"");
	refuses("--timeout 1.5 status",
		"--timeout takes whole seconds from 1 to 3600, not \"1.5\"");
}

static void operands_fit_the_verb(void **state)
{
	assert_string_equal(accepts("scale 1024").operands[0], "1024");
	refuses("scale", "scale needs N");
	refuses("scale 0", "scale takes a number from 1 to 1024, not \"0\"");
	refuses("scale 1025", "scale takes a number from 1 to 1024, not \"1025\"");
	refuses("scale four", "scale takes a number from 1 to 1024, not \"four\"");
	refuses("scale 4 5", "scale takes one operand; what is \"5\"?");
	assert_string_equal(accepts("worker 7 undrain").operands[1], "undrain");
	refuses("worker", "worker needs N");
	refuses("worker 7", "worker needs drain|undrain");
	refuses("worker 0 drain", "worker takes the number of a worker, not \"0\"");
	refuses("worker 7 rain", "worker takes drain|undrain, not \"rain\"");
	refuses("worker 7 drain|undrain", "worker takes drain|undrain, not \"drain|undrain\"");
	refuses("worker 7 drain now", "worker takes two operands; what is \"now\"?");
	refuses("stop now", "stop takes no operand; what is \"now\"?");
	refuses("connections \xff", "connections takes UTF-8 text");
}

static void connections_may_be_listed(void **state)
{
	struct ctl_options options = accepts("connections --list echo --worker 7");

	assert_true(options.list);
	assert_int_equal(options.worker, 7);
	assert_string_equal(options.operands[0], "echo");
	assert_false(accepts("connections").list);
	refuses("status --list", "--list goes with connections");
	refuses("connections --worker 7", "--worker goes with --list");
	refuses("connections --list --worker 0",
		"--worker takes the number of a worker, not \"0\"");
	refuses("connections --list --worker four",
		"--worker takes the number of a worker, not \"four\"");
}

static void expect_request(const char *line, const char *expected)
{
	struct ctl_options options = accepts(line);
	json_t *request = NULL;
	AUTO_FREE char *text = NULL;

	size_t which;

	assert_int_equal(ctl_verb_request(options.verb, options.operands, &request, &which), 0);
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	assert_string_equal(text, expected);
}

static void verbs_become_requests(void **state)
{
	expect_request("status", "{\"version\":1,\"command\":\"status\"}");
	expect_request("connections", "{\"version\":1,\"command\":\"connections\"}");
	expect_request("connections echo",
		       "{\"version\":1,\"command\":\"connections\",\"listener\":\"echo\"}");
	expect_request("scale 4", "{\"version\":1,\"command\":\"scale\",\"workers\":4}");
	expect_request("worker 7 drain", "{\"version\":1,\"command\":\"worker\",\"worker\":7,"
					 "\"action\":\"drain\"}");
	expect_request("stop", "{\"version\":1,\"command\":\"stop\"}");
}

static void help_names_every_verb(void **state)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	ctl_options_help(NULL, out);
	fclose(out);
	for (size_t i = 0; i < ctl_verb_count; i++)
		assert_non_null(strstr(text, ctl_verbs[i].summary));
	assert_non_null(strstr(text, "  connections [LISTENER]"));
	assert_non_null(strstr(text, "  scale N "));

	out = fmemopen(text, sizeof(text), "w");
	ctl_options_help(ctl_verb_find("scale", NULL), out);
	fclose(out);
	assert_non_null(strstr(text, "usage: usherctl [options] scale N\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verb_alone_asks_with_the_defaults),
		cmocka_unit_test(options_may_stand_before_and_behind_the_verb),
		cmocka_unit_test(help_and_version_need_no_verb),
		cmocka_unit_test(unknown_verbs_are_refused_with_a_suggestion),
		cmocka_unit_test(unknown_options_and_missing_values_are_refused),
		cmocka_unit_test(timeouts_have_a_range),
		cmocka_unit_test(operands_fit_the_verb),
		cmocka_unit_test(connections_may_be_listed),
		cmocka_unit_test(verbs_become_requests),
		cmocka_unit_test(help_names_every_verb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
