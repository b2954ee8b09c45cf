/* Whatever a worker writes into its channel, the worst it can do is end itself: usherd ends it,
 * says why, starts another, and serves on. */
#include <setjmp.h>
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
static const char config[] = "workers: 2\n"
			     "user: root\n"
			     "start_timeout: %s\n"
			     "listeners:\n"
			     "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n";

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

static void expect_end_within(struct usher *u, const char *start_timeout, const char *shape,
			      const char *reason)
{
	char program[PATH_MAX], variable[128];

	snprintf(variable, sizeof(variable), "FAKE_WORKER=%s", usher_path(u, shape));
	u->env = (const char *const[]){variable, NULL};
	u->args = (const char *const[]){"--worker", built("tests/helpers/fake_worker", program),
					NULL};
	usher_configure(u, config, start_timeout);
	usher_start(u);

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
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
