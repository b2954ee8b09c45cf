/* A worker that is stopped, not dead: whoever asks has an answer in time that says what it does not
 * know, others serve, each connection counts once, and nobody is lost when the worker goes on. Most
 * tests run once for each way to distribute. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

static const struct mode {
	const char *keys;
	bool hands_off;
	bool has_owners; /* a client of the stopped worker's socket waits for it */
} modes[] = {
	{"distribute: shared", false, false},
	{"distribute: reuse-port", false, true},
	{"exclusive: true", false, true},
	{"distribute: round-robin", true, false},
	{"distribute: least-connections", true, false},
	{"distribute: source-hash", true, false},
};

/* The one under test. */
static const struct mode *mode;

static int start(struct usher *u, unsigned int workers)
{
	usher_configure(
		u,
		"workers: %u\n"
		"%s"
		"listeners:\n"
		"  - {name: it, host: 127.0.0.1, port: 0, backlog: 2000, %s, handler: echo}\n",
		workers, geteuid() == 0 ? "user: root\n" : "", mode->keys);
	usher_start(u);
	return ask_port(u, "it");
}

/* DF-6, GC-5: its row has its last figure and says so, all others are of now. */
static void the_answer_comes_in_time_and_says_what_is_old(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	AUTO_FREE char *out = NULL;
	int port = start(u, 3);

	clients_connect_apart(&u->clients, port, 60);
	ask_expect_served(u, port);
	ask_ready(u, 3, pids);
	kernel_stop(pids[1]);
	for (int i = 0; i < 3; i++) {
		json_t *answer = ask_answered(u, pids[1]);

		assert_int_equal(json_integer_value(json_object_get(answer, "connections")), 60);
		json_decref(answer);
	}
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", NULL), 0);
	assert_non_null(strstr(out, "* did not answer in time: its last known figures"));

	kernel_resume(pids[1]);
	ask_expect_served(u, port);
}

/* DF-6: who hands connections over knows their number, though the worker was never asked. */
static void what_was_handed_to_it_is_known(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 3);

	clients_connect_apart(&u->clients, port, 60);
	clients_expect_echo(&u->clients);
	ask_ready(u, 3, pids);
	kernel_stop(pids[1]);

	json_t *answer = ask_answered(u, pids[1]);
	assert_in_range(json_integer_value(json_object_get(answer, "connections")),
			mode->hands_off ? 60 : 0, 60);
	json_decref(answer);

	kernel_resume(pids[1]);
	ask_expect_served(u, port);
}

/* LS-11: whoever could have gone to another worker does. */
static void others_serve_meanwhile(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 3);

	ask_ready(u, 3, pids);
	kernel_stop(pids[1]);
	clients_connect_apart(&u->clients, port, 60);
	if (!mode->has_owners)
		clients_expect_echo(&u->clients);
	json_decref(ask_answered(u, pids[1]));

	kernel_resume(pids[1]);
	ask_expect_served(u, port);
}

/* GC-3: it dies while it is asked. */
static void it_may_die_while_it_is_asked(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	struct process asker = {0};
	char program[PATH_MAX];
	const char *const argv[] = {built("usherctl", program), "-s", u->control, "connections",
				    NULL};
	int port = start(u, 3);

	clients_connect_apart(&u->clients, port, 60);
	ask_expect_served(u, port);
	ask_ready(u, 3, pids);
	kernel_stop(pids[1]);
	process_start(&asker, &(struct process_options){.argv = argv});
	kernel_kill(pids[1]);
	assert_int_equal(process_wait(&asker, WAIT_MS), 0);
	process_done(&asker);
	assert_true(ask_until_replaced(u, pids[1], 3));
	ask_forget_ended(u, port);
	ask_expect_served(u, port);
}

/* --- connections that no worker can take ---------------------------------------------------- */

static json_int_t waiting_of(const json_t *answer)
{
	return json_integer_value(
		json_object_get(json_object_get(answer, "waiting"), "connections"));
}

struct counting {
	struct usher *usher;
	json_int_t expected;
	json_int_t waiting; /* what is waited for */
};

/* Each answer on the way must be right, whatever moves meanwhile. */
static bool so_many_wait(void *ctx)
{
	const struct counting *counting = ctx;
	json_t *answer = ask_connections(counting->usher);
	json_int_t waiting = waiting_of(answer);

	assert_int_equal(json_integer_value(json_object_get(answer, "connections")),
			 counting->expected);
	json_decref(answer);
	return waiting == counting->waiting;
}

/* GC-6: from the moment at which usherd has accepted them until long after, the sum is the same:
 * on their way, given back, waiting, on their way again, served. */
static void what_no_worker_takes_counts_once(void **state)
{
	struct usher *u = *state;
	struct counting counting = {u, 40, 40};
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 2);

	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		kernel_stop(pids[i]);
	clients_connect_apart(&u->clients, port, 40);
	ask_expect_total(u, counting.expected);
	assert_true(poll_until(so_many_wait, &counting, WAIT_MS));

	AUTO_FREE char *out = NULL;
	assert_int_equal(ask_ctl(u, &out, NULL, "--json", "connections", "--list", NULL), 0);
	json_t *list = json_loads(out, 0, NULL);
	json_t *rows = json_object_get(list, "connections");
	assert_int_equal(json_array_size(rows), 40);
	assert_true(json_is_null(json_object_get(json_array_get(rows, 0), "worker")));
	json_decref(list);

	counting.waiting = 0;
	for (int i = 0; i < 2; i++)
		kernel_resume(pids[i]);
	assert_true(poll_until(so_many_wait, &counting, WAIT_MS));
	ask_expect_served(u, port);
}

/* The same while they are refused again and again. */
static void what_workers_refuse_counts_once(void **state)
{
	enum { QUESTIONS = 100 };
	struct usher *u = *state;
	struct counting counting = {u, 30, 0};
	struct rlimit limit, none = {0};
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 2);

	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(prlimit(pids[i], RLIMIT_NOFILE, NULL, &limit), 0);
		none.rlim_max = limit.rlim_max;
		assert_int_equal(prlimit(pids[i], RLIMIT_NOFILE, &none, NULL), 0);
	}
	clients_connect_apart(&u->clients, port, 30);
	ask_expect_total(u, counting.expected);
	for (int i = 0; i < QUESTIONS; i++)
		so_many_wait(&counting);
	assert_true(usher_logs(u, "Too many open files"));

	for (int i = 0; i < 2; i++)
		assert_int_equal(prlimit(pids[i], RLIMIT_NOFILE, &limit, NULL), 0);
	assert_true(poll_until(so_many_wait, &counting, WAIT_MS));
	ask_expect_served(u, port);
}

int main(void)
{
	const struct CMUnitTest of_each[] = {
		USHER_TEST(the_answer_comes_in_time_and_says_what_is_old),
		USHER_TEST(what_was_handed_to_it_is_known),
		USHER_TEST(others_serve_meanwhile),
		USHER_TEST(it_may_die_while_it_is_asked),
	};
	const struct CMUnitTest of_those_that_hand_off[] = {
		USHER_TEST(what_no_worker_takes_counts_once),
		USHER_TEST(what_workers_refuse_counts_once),
	};
	int failed = 0;

	watchdog(WATCHDOG_SECONDS);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		mode = &modes[i];
		failed += cmocka_run_group_tests_name(mode->keys, of_each, NULL, NULL);
		if (mode->hands_off)
			failed += cmocka_run_group_tests_name(mode->keys, of_those_that_hand_off,
							      NULL, NULL);
	}
	return failed;
}
