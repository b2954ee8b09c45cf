/* Whatever a worker writes into its channel, the worst it can do is end itself: usherd ends it,
 * says why, starts another, and serves on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 240

/* The fake writes into the test's folder, which is for its owner only. */
static const char config[] =
	"workers: 2\n"
	"user: root\n"
	"start_timeout: %s\n"
	"listeners:\n"
	"  - {name: echo, host: 127.0.0.1, port: 0, distribute: %s, handler: echo}\n";

static pid_t pid_of_fake(const struct usher *u, const char *shape)
{
	char name[64], text[32];

	snprintf(name, sizeof(name), "%s.pid", shape);
	FILE *file = fopen(usher_path(u, name), "re");
	if (!file)
		return 0;
	const char *line = fgets(text, sizeof(text), file);
	pid_t pid = line ? (pid_t)strtol(line, NULL, 10) : 0;
	fclose(file);
	return pid;
}

/* Whether a line of the log names the pid, the reason, and what happens now. */
static bool log_says(const struct usher *u, pid_t pid, const char *reason)
{
	AUTO_FREE char *log = usher_log(u);
	char its_pid[32];

	snprintf(its_pid, sizeof(its_pid), "pid %d)", (int)pid);
	for (char *line = log, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strstr(line, its_pid) && strstr(line, reason) && strstr(line, "killing it"))
			return true;
	}
	return false;
}

static void start(struct usher *u, const char *shape, const char *start_timeout,
		  const char *distribute)
{
	char program[PATH_MAX], variable[128];

	snprintf(variable, sizeof(variable), "FAKE_WORKER=%s", usher_path(u, shape));
	u->env = (const char *const[]){variable, NULL};
	u->args = (const char *const[]){"--worker", built("tests/helpers/fake_worker", program),
					NULL};
	usher_configure(u, config, start_timeout, distribute);
	usher_start(u);
}

static void expect_end_within(struct usher *u, const char *start_timeout, const char *shape,
			      const char *reason)
{
	start(u, shape, start_timeout, "shared");

	/* Ready again means that the fake has gone and a real one has come. */
	assert_true(ask_until_workers(u, "ready", 2));
	pid_t fake = pid_of_fake(u, shape);
	assert_true(fake > 0);
	assert_int_equal(kernel_process_state(fake), 0);
	if (!log_says(u, fake, reason)) {
		AUTO_FREE char *log = usher_log(u);
		fail_msg("the log does not say why (pid %d, \"%s\"):\n%s", (int)fake, reason, log);
	}

	int port = ask_port(u, "echo");
	clients_connect(&u->clients, port, 10);
	ask_expect_served(u, port);
}

/* So long that nobody is ended for being slow. */
static void expect_end_of_fake(struct usher *u, const char *shape, const char *reason)
{
	expect_end_within(u, "60s", shape, reason);
}

static void a_thousand_garbage_messages_end_their_worker(void **state)
{
	expect_end_of_fake(*state, "garbage", "killing it");
}

static void a_truncated_message_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "truncated", "too short");
}

static void a_message_that_is_too_long_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "lengthened", "wrong size");
}

static void a_message_that_nobody_takes_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "user-message", "nobody is here");
}

static void a_single_byte_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "one-byte", "without a header");
}

static void an_unknown_type_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unknown-type", "unknown type");
}

static void a_message_of_the_supervisor_ends_a_worker(void **state)
{
	expect_end_of_fake(*state, "supervisors-message", "only the other side");
}

static void another_version_is_refused_with_both_numbers(void **state)
{
	expect_end_of_fake(*state, "other-version", "version");
}

static void ready_before_hello_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "ready-before-hello", "out of order");
}

static void a_second_hello_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "hello-twice", "out of order");
}

static void a_stray_descriptor_ends_its_worker_and_is_closed(void **state)
{
	expect_end_of_fake(*state, "stray-descriptor", "number of descriptors");
}

static void a_count_that_nobody_asked_for_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unasked-count", "does not exist");
}

static void a_list_of_what_there_is_not_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unasked-list", "cannot be");
}

static void a_rest_that_nobody_told_it_to_have_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unasked-rest", "was not told to");
}

static void permits_that_it_was_not_given_end_its_worker(void **state)
{
	expect_end_of_fake(*state, "held-permits", "never given");
}

static void taking_what_was_not_handed_off_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unsent-claim", "never handed");
}

static void garbage_in_the_claims_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "garbage-claims", "never handed");
}

static void progress_of_an_unknown_listener_ends_its_worker(void **state)
{
	expect_end_of_fake(*state, "unknown-progress", "never handed");
}

static void a_worker_that_says_nothing_is_ended_at_the_deadline(void **state)
{
	expect_end_within(*state, "2s", "silent", "past its deadline");
}

/* --- who waits for it ------------------------------------------------------------------------ */

static unsigned int number_of(const struct usher *u, pid_t pid)
{
	json_t *status = ask_status(u);
	unsigned int number = 0;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "pid")) == pid)
			number = (unsigned int)json_integer_value(json_object_get(row, "worker"));
	json_decref(status);
	return number;
}

/* Asks something that the worker is told, which then breaks the rules. Returns whether its end was
 * the answer. */
typedef bool question_fn(const struct usher *u, unsigned int worker);

/* It has been handed a connection that it does not take. */
static bool is_answered_by_its_end(struct usher *u, const char *shape, question_fn *question)
{
	start(u, shape, "60s", "round-robin");
	clients_connect(&u->clients, ask_port(u, "echo"), 2);
	assert_true(usher_logs(u, "does not take its connections"));
	pid_t fake = pid_of_fake(u, shape);
	unsigned int worker = number_of(u, fake);
	assert_int_not_equal(worker, 0);
	bool answered = question(u, worker);
	assert_true(ask_until_replaced(u, fake, 2));
	assert_true(log_says(u, fake, "never handed"));
	ask_expect_served(u, ask_port(u, "echo"));
	return answered;
}

/* usherd waits a second for a worker that answers nothing: if this one was slower than that to
 * break, it was not its end that was waited for, and the same is tried again. */
static void expect_answer(struct usher *u, const char *shape, question_fn *question)
{
	char name[64];
	int64_t deadline = now_ms() + 3 * WAIT_MS;

	snprintf(name, sizeof(name), "%s.pid", shape);
	while (!is_answered_by_its_end(u, shape, question)) {
		if (now_ms() >= deadline)
			fail_msg("what it was asked was not answered by its end");
		clients_close(&u->clients, u->clients.count);
		usher_signal(u, SIGTERM);
		assert_int_equal(usher_ended(u), 0);
		assert_int_equal(unlink(usher_path(u, name)), 0);
	}
}

/* Not one that says that it still rests. */
static bool drain(const struct usher *u, unsigned int worker)
{
	AUTO_FREE char *out = NULL;
	char number[16];

	snprintf(number, sizeof(number), "%u", worker);
	return ask_ctl(u, &out, NULL, "--json", "worker", number, "drain", NULL) == 0 &&
	       strstr(out, "\"dead\"");
}

/* What it has ended with it, and none of its figures is an old one. */
static bool count(const struct usher *u, unsigned int worker)
{
	json_t *answer = ask_connections(u);
	bool counted = false;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(answer, "workers"), i, row)
		counted |= json_integer_value(json_object_get(row, "worker")) == worker;
	json_decref(answer);
	return !counted;
}

static bool list(const struct usher *u, unsigned int worker)
{
	json_t *answer = ask_list(u, NULL);
	bool complete = json_array_size(json_object_get(answer, "missing")) == 0;

	(void)worker;
	json_decref(answer);
	return complete;
}

static void who_waits_for_it_to_rest_hears_of_its_end(void **state)
{
	expect_answer(*state, "break-at-rest", drain);
}

static void who_counts_hears_of_its_end(void **state)
{
	expect_answer(*state, "break-at-count", count);
}

static void who_lists_hears_of_its_end(void **state)
{
	expect_answer(*state, "break-at-list", list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(a_thousand_garbage_messages_end_their_worker),
		USHER_TEST(a_truncated_message_ends_its_worker),
		USHER_TEST(a_message_that_is_too_long_ends_its_worker),
		USHER_TEST(a_single_byte_ends_its_worker),
		USHER_TEST(an_unknown_type_ends_its_worker),
		USHER_TEST(a_message_that_nobody_takes_ends_its_worker),
		USHER_TEST(a_message_of_the_supervisor_ends_a_worker),
		USHER_TEST(another_version_is_refused_with_both_numbers),
		USHER_TEST(ready_before_hello_ends_its_worker),
		USHER_TEST(a_second_hello_ends_its_worker),
		USHER_TEST(a_stray_descriptor_ends_its_worker_and_is_closed),
		USHER_TEST(a_count_that_nobody_asked_for_ends_its_worker),
		USHER_TEST(a_list_of_what_there_is_not_ends_its_worker),
		USHER_TEST(a_rest_that_nobody_told_it_to_have_ends_its_worker),
		USHER_TEST(permits_that_it_was_not_given_end_its_worker),
		USHER_TEST(taking_what_was_not_handed_off_ends_its_worker),
		USHER_TEST(garbage_in_the_claims_ends_its_worker),
		USHER_TEST(progress_of_an_unknown_listener_ends_its_worker),
		USHER_TEST(a_worker_that_says_nothing_is_ended_at_the_deadline),
		USHER_TEST(who_waits_for_it_to_rest_hears_of_its_end),
		USHER_TEST(who_counts_hears_of_its_end),
		USHER_TEST(who_lists_hears_of_its_end),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
