/* Workers that accept no more, or cannot, at the very moment when one of them is woken for a
 * connection: the others sleep, and nothing wakes them but the next client, or usherd.
 *
 * usherd looks by itself from time to time, too. It is asked so soon that it cannot have done so;
 * where that takes too long these tests show less, and fail for nothing they should not. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/listen_world.h"
#include "tests/helpers/starve.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* A worker hears the question after it was told to look, and has looked when it hears the last. */
#define QUESTIONS 6

#define CLIENTS_MAX 8

/* Two workers, of which one is woken and does not come to run. */
struct scene {
	struct usher *u;
	size_t woken; /* mates */
	size_t other;
	struct starve starve;
	int port; /* of a server that both have made; 0: the configured listener */
	int clients[CLIENTS_MAX];
	size_t n_clients;
	long load;   /* of the other, when the last client came */
	long worker; /* the number of the woken one */
};

/* A field of the row of a mate in what usherd tells of its workers. */
static long field_of(json_t *answer, size_t mate, const char *field)
{
	long value = -1;
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(answer, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "pid")) == crew.mates[mate].pid)
			value = (long)json_integer_value(json_object_get(row, field));
	json_decref(answer);
	assert_true(value >= 0);
	return value;
}

static long load_of(const struct scene *s, size_t mate)
{
	return field_of(ask_connections(s->u), mate, "connections");
}

static bool all_are_taken(void *ctx)
{
	const struct scene *s = ctx;

	return ask_total(s->u) == (long)s->n_clients;
}

static void connect_one(struct scene *s)
{
	assert_true(s->n_clients < CLIENTS_MAX);
	s->clients[s->n_clients++] = s->port ? connect_tcp("127.0.0.1", s->port)
					     : connect_unix(usher_path(s->u, "mine"));
}

/* Who has accepted comes last: as soon as that is the other, the next connection wakes this one. */
static void make_next(struct scene *s)
{
	do {
		s->load = load_of(s, s->other);
		connect_one(s);
		assert_true(poll_until(all_are_taken, s, WAIT_MS));
	} while (load_of(s, s->other) == s->load);
	s->load++;
}

/* Then the next client wakes the one, and nobody else. */
static void meet(struct scene *s, void **state, bool made, const char *settings)
{
	*s = (struct scene){.u = *state};
	listen_start(s->u, 2, settings);
	usher_holds_other_fds(s->u);
	/* The one that goes when there is to be one alone. */
	s->woken = field_of(ask_status(s->u), 0, "slot") == 2 ? 0 : 1;
	s->other = 1 - s->woken;
	s->worker = field_of(ask_status(s->u), s->woken, "worker");
	if (made) {
		s->port = listen_any(0, "a");
		assert_int_equal(listen_any(1, "a"), s->port);
	}
	make_next(s);
}

/* And a client waits for it, which does not run. */
static void begin(struct scene *s, void **state, bool made)
{
	meet(s, state, made, "");
	starve_begin(&s->starve, crew.mates[s->woken].pid);
	connect_one(s);
	if (!starve_is_woken(&s->starve))
		print_message("worker %ld has run already: this shows nothing\n", s->worker);
}

static void expect_total(struct scene *s, long count)
{
	long total = 0;

	for (int i = 0; i < QUESTIONS; i++)
		total = ask_total(s->u);
	if (total != count)
		fail_msg("%ld clients are accepted, not %ld: nobody was told that one waits", total,
			 count);
	for (size_t i = 0; i < s->n_clients; i++)
		close(s->clients[i]);
}

/* Mostly by the other one: it may be that the first has run before it heard that it is to leave. */
static void expect_taken(struct scene *s)
{
	expect_total(s, (long)s->n_clients);
}

/* --- who leaves ------------------------------------------------------------------------------ */

/* made: of a server that both have made, as begin() has it. */
static void see_one_that_rests(void **state, bool made)
{
	char program[PATH_MAX], worker[16];
	struct process ctl;
	struct scene s;

	begin(&s, state, made);
	snprintf(worker, sizeof(worker), "%ld", s.worker);
	const char *argv[] = {
		built("usherctl", program), "-s", s.u->control, "worker", worker, "drain", NULL};
	process_start(&ctl, &(struct process_options){.argv = argv});
	assert_true(ask_until_workers(s.u, "resting", 1));
	starve_end(&s.starve);
	assert_int_equal(process_wait(&ctl, WAIT_MS), 0);
	process_done(&ctl);
	expect_taken(&s);
}

static void see_one_that_is_scaled_away(void **state, bool made)
{
	struct scene s;

	begin(&s, state, made);
	assert_int_equal(ask_ctl(s.u, NULL, NULL, "scale", "1", NULL), 0);
	starve_end(&s.starve);
	expect_taken(&s);
}

static void see_one_that_is_short(void **state, bool made)
{
	struct rlimit limit;
	struct scene s;
	pid_t pid;

	/* Whose limits we may change. */
	meet(&s, state, made, geteuid() == 0 ? "user: root\n" : "");
	pid = crew.mates[s.woken].pid;
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, &limit), 0);
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &(struct rlimit){0, limit.rlim_max}, NULL), 0);
	connect_one(&s);
	expect_taken(&s);
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

static void a_resting_workers_wake_up_is_passed_on(void **state)
{
	see_one_that_rests(state, false);
}

static void a_resting_workers_wake_up_for_a_program_is_passed_on(void **state)
{
	see_one_that_rests(state, true);
}

static void the_wake_up_of_one_that_is_scaled_away_is_passed_on(void **state)
{
	see_one_that_is_scaled_away(state, false);
}

static void a_programs_wake_up_is_passed_on_when_it_is_scaled_away(void **state)
{
	see_one_that_is_scaled_away(state, true);
}

static void the_wake_up_of_a_server_that_is_closed_is_passed_on(void **state)
{
	struct scene s;

	begin(&s, state, true);
	crew_say(&crew, s.woken, "close a");
	starve_end(&s.starve);
	expect_taken(&s);
	crew_hear(&crew, s.woken, "a closed");
}

static void the_wake_up_of_one_without_descriptors_is_passed_on(void **state)
{
	see_one_that_is_short(state, false);
}

static void a_programs_wake_up_is_passed_on_when_it_has_no_descriptors(void **state)
{
	see_one_that_is_short(state, true);
}

/* LS-8. Its successor would look at the configured listener by itself. */
static void the_wake_up_of_one_that_dies_is_passed_on(void **state)
{
	struct scene s;
	pid_t pid;
	int last;

	begin(&s, state, true);
	pid = crew.mates[s.woken].pid;
	assert_int_equal(kill(pid, SIGKILL), 0);
	starve_end(&s.starve);
	assert_true(ask_until_replaced(s.u, pid, 2));
	last = s.clients[s.n_clients - 1];
	expect_total(&s,
		     wait_readable(last, 0) && listen_greeter(last) == pid ? s.load : s.load + 1);
	crew_expect_gone(&crew, s.woken);
	crew_await(&crew, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_resting_workers_wake_up_is_passed_on),
		LISTEN_TEST(a_resting_workers_wake_up_for_a_program_is_passed_on),
		LISTEN_TEST(the_wake_up_of_one_that_is_scaled_away_is_passed_on),
		LISTEN_TEST(a_programs_wake_up_is_passed_on_when_it_is_scaled_away),
		LISTEN_TEST(the_wake_up_of_a_server_that_is_closed_is_passed_on),
		LISTEN_TEST(the_wake_up_of_one_without_descriptors_is_passed_on),
		LISTEN_TEST(a_programs_wake_up_is_passed_on_when_it_has_no_descriptors),
		LISTEN_TEST(the_wake_up_of_one_that_dies_is_passed_on),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
