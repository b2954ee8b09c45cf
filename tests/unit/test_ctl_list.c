#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/ctl_list.h"

/* wrap: json_dumps */
char *__real_json_dumps(const json_t *json, size_t flags);
char *__wrap_json_dumps(const json_t *json, size_t flags);

/* Memory is lacking for these calls, counted from 0. */
static size_t dumps, first_failing = SIZE_MAX, end_failing;

char *__wrap_json_dumps(const json_t *json, size_t flags)
{
	size_t number = dumps++;

	if (number >= first_failing && number < end_failing)
		return NULL;
	return __real_json_dumps(json, flags);
}

/* A usherd that gives these answers, one after the other. */
struct script {
	const char *const *answers; /* NULL at the end: then there is none any more */
	const char *refusal;        /* in its place; NULL: not a word */
	const char *reason;         /* as the asker has told it */
	char asked[2048];
};

static int say(const json_t *request, struct ctl_answer *ret, void *ctx)
{
	struct script *script = ctx;
	AUTO_FREE char *text = __real_json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS);

	strncat(script->asked, text, sizeof(script->asked) - strlen(script->asked) - 2);
	strcat(script->asked, "\n");
	if (!*script->answers) {
		*ret = (struct ctl_answer){.exit_code = EX_UNAVAILABLE, .message = script->reason};
		if (script->refusal)
			ret->whole = json_loads(script->refusal, 0, NULL);
		return EX_UNAVAILABLE;
	}
	*ret = (struct ctl_answer){.whole = json_loads(*script->answers++, 0, NULL)};
	assert_non_null(ret->whole);
	return EX_OK;
}

static int list_by(const struct ctl_options *wanted, struct script *script, char text[4096])
{
	struct ctl_options options = *wanted;
	const char *meant;
	FILE *out = fmemopen(text, 4096, "w");

	options.verb = ctl_verb_find("connections", &meant);
	options.list = true;
	int code = ctl_list(&options, say, script, out);
	fclose(out);
	return code;
}

static int list(const struct ctl_options *wanted, const char *const *answers, char *asked,
		char text[4096])
{
	struct script script = {.answers = answers, .reason = "usherd went"};
	int code = list_by(wanted, &script, text);

	if (asked)
		strcpy(asked, script.asked);
	return code;
}

#define ROW(id, peer)                                                            \
	"{\"listener\":\"echo\",\"worker\":1,\"slot\":2,\"pid\":813,\"id\":" #id \
	",\"peer\":\"" peer "\",\"age_s\":61.5,\"bytes_read\":3,\"bytes_written\":1000}"
#define EMPTY "{\"connections\":[],\"next\":null,\"stale\":false}"
#define ONE_WORKER \
	"{\"workers\":[{\"worker\":1,\"slot\":2,\"pid\":813,\"connections\":3,\"stale\":false}]}"

static const char *const two_pages[] = {
	ONE_WORKER,
	"{\"connections\":[" ROW(9, "192.0.2.1:80") "," ROW(8, "192.0.2.2:80") "],\"next\":8}",
	"{\"connections\":[" ROW(5, "[2001:db8::1]:4242") "],\"next\":null}",
	EMPTY,
	NULL,
};

static void pages_make_one_table(void **state)
{
	char text[4096], asked[2048];

	assert_int_equal(list(&(struct ctl_options){0}, two_pages, asked, text), EX_OK);
	assert_string_equal(
		text,
		"LISTENER    WORKER  SLOT      PID  PEER                       AGE       READ    "
		"WRITTEN\n"
		"echo             1     2      813  192.0.2.1:80            1m 01s          3      "
		" "
		"1000\n"
		"echo             1     2      813  192.0.2.2:80            1m 01s          3      "
		" "
		"1000\n"
		"echo             1     2      813  [2001:db8::1]:4242      1m 01s          3      "
		" "
		"1000\n");
	assert_string_equal(asked,
			    "{\"command\":\"connections\",\"version\":1}\n"
			    "{\"command\":\"list\",\"version\":1,\"worker\":1}\n"
			    "{\"before\":8,\"command\":\"list\",\"version\":1,\"worker\":1}\n"
			    "{\"command\":\"list\",\"version\":1}\n");
}

/* The one document in one line that text is. */
static json_t *read_line(const char *text)
{
	json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (!answer)
		fail_msg("this is no JSON: %s", text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	assert_int_equal(json_integer_value(json_object_get(answer, "version")), 1);
	return answer;
}

static void pages_make_one_line_of_json(void **state)
{
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){.json = true}, two_pages, NULL, text), EX_OK);
	json_t *answer = read_line(text);
	assert_null(json_object_get(answer, "error"));
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 3);
	assert_int_equal(json_array_size(json_object_get(answer, "missing")), 0);
	assert_true(json_is_false(json_object_get(answer, "truncated")));
	json_decref(answer);
}

static void listener_and_worker_are_asked_for(void **state)
{
	const struct ctl_options options = {.operands = {"echo"}, .worker = 1};
	const char *const answers[] = {ONE_WORKER, EMPTY, NULL};
	char text[4096], asked[2048];

	assert_int_equal(list(&options, answers, asked, text), EX_OK);
	assert_string_equal(
		asked, "{\"command\":\"connections\",\"listener\":\"echo\",\"version\":1}\n"
		       "{\"command\":\"list\",\"listener\":\"echo\",\"version\":1,\"worker\":1}\n");
}

static void a_worker_that_there_is_not_is_said_to_be_none(void **state)
{
	const char *const answers[] = {ONE_WORKER, NULL};
	char text[4096] = "";

	assert_int_equal(list(&(struct ctl_options){.worker = 7}, answers, NULL, text), EX_USAGE);
	assert_string_equal(text, "");
}

/* One that is stale among the counts is not asked again; one that stops later is found out. */
static void workers_that_do_not_answer_are_named(void **state)
{
	const char *const answers[] = {
		"{\"workers\":[{\"worker\":1,\"slot\":1,\"pid\":81,\"connections\":3,"
		"\"stale\":true},{\"worker\":2,\"slot\":2,\"pid\":82,\"connections\":4,"
		"\"stale\":false}]}",
		"{\"connections\":[],\"next\":null,\"stale\":true}",
		EMPTY,
		NULL,
	};
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){0}, answers, NULL, text), EX_OK);
	assert_non_null(strstr(
		text, "worker 1 (slot 1, pid 81) did not answer in time; it had 3 connections\n"));
	assert_non_null(strstr(
		text, "worker 2 (slot 2, pid 82) did not answer in time; it had 4 connections\n"));
}

/* Half a list must not look like one, and the reason must be one that a refusal has. */
static void expect_broken_off(const char *text, size_t rows, int code, const char *reason)
{
	json_t *answer = read_line(text);
	const json_t *error = json_object_get(answer, "error");

	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), rows);
	assert_int_equal(json_integer_value(json_object_get(error, "exit")), code);
	if (reason)
		assert_string_equal(json_string_value(json_object_get(error, "message")), reason);
	assert_null(json_object_get(answer, "truncated"));
	json_decref(answer);
}

static const char *const broken_off[] = {
	ONE_WORKER,
	"{\"connections\":[" ROW(9, "192.0.2.1:80") "," ROW(8, "192.0.2.2:80") "],\"next\":8}",
	NULL,
};

#define REFUSAL "{\"version\":1,\"ok\":false,\"error\":{\"exit\":69,\"message\":\"no\"}}"

static void a_usherd_that_goes_in_between_is_an_error(void **state)
{
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){.json = true}, broken_off, NULL, text),
			 EX_UNAVAILABLE);
	expect_broken_off(text, 2, EX_UNAVAILABLE, "usherd went");
}

static void a_refusal_in_between_is_an_error_of_the_whole(void **state)
{
	struct script script = {.answers = broken_off, .refusal = REFUSAL, .reason = "no"};
	char text[4096];

	assert_int_equal(list_by(&(struct ctl_options){.json = true}, &script, text),
			 EX_UNAVAILABLE);
	expect_broken_off(text, 2, EX_UNAVAILABLE, "no");
}

/* A path may be in it. */
static void a_reason_that_is_no_text_of_json_is_replaced(void **state)
{
	struct script script = {.answers = broken_off, .reason = "no /\xff"};
	char text[4096];

	assert_int_equal(list_by(&(struct ctl_options){.json = true}, &script, text),
			 EX_UNAVAILABLE);
	expect_broken_off(text, 2, EX_UNAVAILABLE, NULL);
}

static void those_that_were_missing_until_then_are_named(void **state)
{
	const char *const answers[] = {
		"{\"workers\":[{\"worker\":1,\"slot\":1,\"pid\":81,\"connections\":3,"
		"\"stale\":true},{\"worker\":2,\"slot\":2,\"pid\":82,\"connections\":4,"
		"\"stale\":false}]}",
		EMPTY,
		NULL,
	};
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){.json = true}, answers, NULL, text),
			 EX_UNAVAILABLE);
	expect_broken_off(text, 0, EX_UNAVAILABLE, "usherd went");
	assert_non_null(strstr(
		text, "\"missing\":[{\"worker\":1,\"slot\":1,\"pid\":81,\"connections\":3}]"));
}

/* Whatever a usherd of another version says. */
static void rows_of_any_kind_make_json(void **state)
{
	const char *const answers[] = {
		"{\"workers\":[{\"worker\":1,\"stale\":true},7]}",
		"{\"connections\":[1,\"x\",null,[]],\"next\":null}",
		EMPTY,
		NULL,
	};
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){.json = true}, answers, NULL, text), EX_OK);
	json_t *answer = read_line(text);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 4);
	assert_int_equal(json_array_size(json_object_get(answer, "missing")), 1);
	json_decref(answer);
}

/* For each of the three rows, or for those that are missing: for that alone, or from there on. */
static void without_memory_it_is_one_document_all_the_same(void **state)
{
	for (size_t i = 0; i < 2 * 4; i++) {
		char text[4096];

		dumps = 0;
		first_failing = i / 2;
		end_failing = i % 2 ? SIZE_MAX : first_failing + 1;
		int code = list(&(struct ctl_options){.json = true}, two_pages, NULL, text);
		first_failing = SIZE_MAX;
		assert_int_equal(code, EX_OSERR);
		expect_broken_off(text, i / 2, EX_OSERR, NULL);
	}
}

static void what_waits_for_a_worker_is_shown_without_one(void **state)
{
	const char *const answers[] = {
		"{\"workers\":[]}",
		"{\"connections\":[{\"listener\":\"echo\",\"worker\":null,\"slot\":null,"
		"\"pid\":null,\"id\":null,\"peer\":\"192.0.2.1:80\",\"age_s\":1,"
		"\"bytes_read\":0,\"bytes_written\":0}],\"next\":null,\"truncated\":true}",
		NULL,
	};
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){0}, answers, NULL, text), EX_OK);
	assert_non_null(strstr(text, "echo             -     -        -  192.0.2.1:80"));
	assert_non_null(strstr(text, "there are more that wait for a worker\n"));
}

/* Of the first question, or before there is anything to be shown. */
static void a_refusal_stands_alone_as_it_was_given(void **state)
{
	const char *const answers[] = {ONE_WORKER, NULL};

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct script script = {.answers = answers + i, .refusal = REFUSAL, .reason = "no"};
		char text[4096] = "";

		assert_int_equal(list_by(&(struct ctl_options){.json = true}, &script, text),
				 EX_UNAVAILABLE);
		assert_string_equal(text, REFUSAL "\n");
	}
}

static void without_a_word_nothing_is_written(void **state)
{
	const char *const answers[] = {ONE_WORKER, NULL};

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		char text[4096] = "";

		assert_int_equal(list(&(struct ctl_options){.json = true}, answers + i, NULL, text),
				 EX_UNAVAILABLE);
		assert_string_equal(text, "");
	}
}

/* A usherd that says "more" for ever does not keep usherctl for ever. */
static void pages_that_do_not_go_on_end_the_list(void **state)
{
	const char *const answers[] = {
		ONE_WORKER,
		EMPTY,
		"{\"connections\":[],\"next\":8}",
		"{\"connections\":[],\"next\":8}",
		NULL,
	};
	char text[4096];

	assert_int_equal(list(&(struct ctl_options){0}, answers, NULL, text), EX_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_make_one_table),
		cmocka_unit_test(pages_make_one_line_of_json),
		cmocka_unit_test(listener_and_worker_are_asked_for),
		cmocka_unit_test(a_worker_that_there_is_not_is_said_to_be_none),
		cmocka_unit_test(workers_that_do_not_answer_are_named),
		cmocka_unit_test(a_usherd_that_goes_in_between_is_an_error),
		cmocka_unit_test(a_refusal_in_between_is_an_error_of_the_whole),
		cmocka_unit_test(a_reason_that_is_no_text_of_json_is_replaced),
		cmocka_unit_test(those_that_were_missing_until_then_are_named),
		cmocka_unit_test(rows_of_any_kind_make_json),
		cmocka_unit_test(without_memory_it_is_one_document_all_the_same),
		cmocka_unit_test(what_waits_for_a_worker_is_shown_without_one),
		cmocka_unit_test(a_refusal_stands_alone_as_it_was_given),
		cmocka_unit_test(without_a_word_nothing_is_written),
		cmocka_unit_test(pages_that_do_not_go_on_end_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
