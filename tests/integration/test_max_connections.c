/* max_connections: one limit over all workers, whoever accepts, and whatever happens to them.
 *
 * The judges are the kernel, which lists what processes have, and the clients: who has had an
 * answer is accepted. Every test of a mode runs once for each way to distribute, and for exclusive.
 *
 * USHER_CLIENTS is how many there are at a time, 300 if not given; USHER_MODE is the one mode to
 * run. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/accepted.h"
#include "tests/helpers/ask.h"
#include "tests/helpers/crowd.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define LIMIT           100
#define WORKERS         4
#define CLIENTS_DEFAULT 300
#define SECONDS_EACH    120

/* How long clients come and go, and how long one stays at most. */
#define STORM_MS 1500
#define STAYS_MS 20

static const char *const modes[] = {"shared",      "round-robin", "least-connections",
				    "source-hash", "reuse-port",  "exclusive"};
static const char *mode;

struct scene {
	struct usher *usher;
	struct crowd *crowd;
	struct accepted accepted;
	size_t limit;
	int port;
	bool kills;  /* so clients may not know yet that they are held no more */
	size_t most; /* accepted at once, as the kernel says */
	size_t now;
	size_t awaited; /* more than so many are to be served */
};

static size_t clients_wanted(void)
{
	const char *text = getenv("USHER_CLIENTS");

	return text ? strtoul(text, NULL, 10) : CLIENTS_DEFAULT;
}

/* Keys of the listener are put in between. */
static void begin(struct scene *s, void **state, unsigned int workers, size_t limit,
		  const char *keys)
{
	bool exclusive = strcmp(mode, "exclusive") == 0;
	struct usher *u = *state;

	*s = (struct scene){.usher = u, .limit = limit};
	usher_configure(u,
			"workers: %u\n"
			"%s"
			"drain_timeout: 10s\n"
			"listeners:\n"
			"  - {name: it, host: 127.0.0.1, port: 0, backlog: 4096, handler: echo,\n"
			"     %s%s, %s}\n",
			workers, geteuid() == 0 ? "user: root\n" : "",
			exclusive ? "exclusive: " : "distribute: ", exclusive ? "true" : mode,
			keys);
	usher_start(u);
	s->port = ask_port(u, "it");
	accepted_init(&s->accepted, s->port);
	s->crowd = crowd_new(s->port, clients_wanted());
}

static void end(struct scene *s)
{
	accepted_done(&s->accepted);
	crowd_free(s->crowd);
	ask_expect_connections(s->usher, s->port, 0);
}

/* --- the judges ------------------------------------------------------------------------------ */

static void judge(struct scene *s)
{
	char states[128];

	s->now = accepted_at_once(&s->accepted);
	if (s->now > s->most)
		s->most = s->now;
	if (s->now <= s->limit && (s->kills || s->crowd->figures.most_held <= s->limit))
		return;
	accepted_states(&s->accepted, states, sizeof(states));
	fail_msg("%s: %zu connections were accepted at once (%s), %zu clients held one; the limit "
		 "is %zu",
		 mode, s->now, states, s->crowd->figures.most_held, s->limit);
}

/* Nobody was accepted and then closed. */
static void expect_no_ends(const struct scene *s)
{
	const struct crowd_figures *f = &s->crowd->figures;

	if (f->ended + f->reset + f->cut_off > 0)
		fail_msg("%s: of %zu clients %zu found the end, %zu a reset, %zu were cut off",
			 mode, f->served, f->ended, f->reset, f->cut_off);
}

static void storm(struct scene *s, int ms)
{
	for (int64_t until = now_ms() + ms; now_ms() < until;) {
		crowd_run(s->crowd, 3, NULL, NULL);
		judge(s);
	}
}

static bool all_are_held(void *ctx)
{
	struct scene *s = ctx;

	judge(s);
	return s->crowd->figures.held == s->limit && s->now == s->limit;
}

static void fill(struct scene *s)
{
	if (!crowd_run(s->crowd, WAIT_MS, all_are_held, s))
		fail_msg("%s: %zu clients are held and %zu connections accepted; there is room "
			 "for %zu",
			 mode, s->crowd->figures.held, s->now, s->limit);
}

static bool nobody_waits(void *ctx)
{
	const struct scene *s = ctx;

	return s->crowd->figures.waiting == 0 && s->crowd->figures.held == 0;
}

/* Those who still wait come in as others leave, and nobody is forgotten. */
static void let_all_be_served(struct scene *s)
{
	s->crowd->replace = false;
	s->crowd->stays_ms = 0;
	if (!crowd_run(s->crowd, WAIT_MS, nobody_waits, s))
		fail_msg("%s: %zu clients hang, %zu are held", mode, s->crowd->figures.waiting,
			 s->crowd->figures.held);
}

/* --- in each mode ---------------------------------------------------------------------------- */

/* Limit */
static void clients_come_and_go_and_the_limit_holds(void **state)
{
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, "max_connections: 100");
	s.crowd->stays_ms = STAYS_MS;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	storm(&s, STORM_MS);
	/* A storm on a busy machine may never have had all places taken at once. */
	s.crowd->stays_ms = -1;
	fill(&s);
	let_all_be_served(&s);
	expect_no_ends(&s);
	print_message("%s: %zu served, at most %zu accepted and %zu held\n", mode,
		      s.crowd->figures.served, s.most, s.crowd->figures.most_held);
	assert_int_equal(s.crowd->figures.most_held, LIMIT);
	assert_int_equal(s.most, LIMIT);
	end(&s);
}

/* DF-3 */
static void a_full_listener_keeps_nobody_busy(void **state)
{
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, "max_connections: 100");
	s.crowd->stays_ms = -1;
	crowd_fill(s.crowd);
	fill(&s);
	usher_expect_idle(s.usher, 1000);

	/* And lets in as many as leave. */
	crowd_leave(s.crowd, 7);
	fill(&s);
	assert_int_equal(s.crowd->figures.served, LIMIT + 7);
	let_all_be_served(&s);
	expect_no_ends(&s);
	end(&s);
}

/* Limit */
static void a_killed_workers_connections_make_room(void **state)
{
	pid_t pids[USHER_WORKERS_MAX];
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, "max_connections: 100");
	s.kills = true;
	s.crowd->stays_ms = -1;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	for (int i = 0; i < 3; i++) {
		fill(&s);
		ask_ready(s.usher, WORKERS, pids);
		kernel_kill(pids[i % WORKERS]);
		assert_true(ask_until_replaced(s.usher, pids[i % WORKERS], WORKERS));
	}
	fill(&s);
	assert_int_equal(s.crowd->figures.ended, 0);
	end(&s);
}

static bool enough_are_served(void *ctx)
{
	struct scene *s = ctx;

	judge(s);
	return s->crowd->figures.served > s->awaited;
}

static void storm_of(void **state, const char *keys, size_t limit, unsigned int workers)
{
	struct scene s;

	begin(&s, state, workers, limit, keys);
	s.crowd->stays_ms = 5;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	storm(&s, STORM_MS / 3);
	/* Where the machine is busy a storm is over before anybody has had his turn. */
	s.awaited = limit;
	assert_true(crowd_run(s.crowd, WAIT_MS, enough_are_served, &s));
	s.crowd->stays_ms = -1;
	fill(&s);
	usher_expect_idle(s.usher, 300);
	expect_no_ends(&s);
	end(&s);
}

/* Limit */
static void one_may_be_the_limit_of_eight_workers(void **state)
{
	storm_of(state, "max_connections: 1", 1, 8);
}

/* Limit */
static void fewer_than_workers_may_be_the_limit(void **state)
{
	storm_of(state, "max_connections: 3", 3, 8);
}

static size_t expect_shares(const struct usher *u, long most)
{
	json_t *answer = ask_answered(u, 0);
	size_t i, n = 0;
	json_t *row;

	json_array_foreach (json_object_get(answer, "workers"), i, row) {
		long count = (long)json_integer_value(json_object_get(row, "connections"));

		assert_true(count <= most);
		n += count == most;
	}
	json_decref(answer);
	return n;
}

/* Limit */
static void no_worker_has_more_than_it_may(void **state)
{
	bool exclusive = strcmp(mode, "exclusive") == 0;
	size_t most = exclusive ? 10 : 40;
	struct scene s;

	begin(&s, state, WORKERS, most, "max_connections_per_worker: 10");
	s.crowd->stays_ms = STAYS_MS;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	storm(&s, STORM_MS / 3);
	/* Where each worker has a queue of its own, that of a quick one is empty by now. */
	let_all_be_served(&s);
	s.crowd->replace = true;
	s.crowd->stays_ms = -1;
	crowd_fill(s.crowd);
	fill(&s);
	assert_int_equal(expect_shares(s.usher, 10), exclusive ? 1 : 4);
	usher_expect_idle(s.usher, 300);
	let_all_be_served(&s);
	expect_no_ends(&s);
	end(&s);
}

static bool nobody_waits_for_an_answer(void *ctx)
{
	const struct crowd *crowd = ctx;

	return crowd->figures.waiting == 0;
}

/* Whatever is turned away is told so, at once; nobody is turned away while there is room. */
static void turn_away(void **state, const char *keys, bool is_reset)
{
	size_t clients = clients_wanted();
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, keys);
	s.crowd->stays_ms = -1;
	crowd_fill(s.crowd);
	fill(&s);
	assert_true(crowd_run(s.crowd, WAIT_MS, nobody_waits_for_an_answer, s.crowd));
	judge(&s);
	assert_int_equal(is_reset ? s.crowd->figures.reset : s.crowd->figures.ended,
			 clients - LIMIT);
	assert_int_equal(is_reset ? s.crowd->figures.ended : s.crowd->figures.reset, 0);
	assert_int_equal(s.crowd->figures.cut_off, 0);
	assert_true(usher_logs(s.usher, is_reset ? " reset" : " dropped"));
	usher_expect_idle(s.usher, 300);

	/* There is room for five, and then for none again. */
	crowd_leave(s.crowd, 5);
	ask_expect_connections(s.usher, s.port, LIMIT - 5);
	struct crowd *more = crowd_new(s.port, 5);
	more->stays_ms = -1;
	crowd_fill(more);
	assert_true(crowd_run(more, WAIT_MS, nobody_waits_for_an_answer, more));
	assert_int_equal(more->figures.held, 5);
	crowd_free(more);
	end(&s);
}

/* Limit */
static void too_many_may_be_dropped(void **state)
{
	turn_away(state, "max_connections: 100, overflow: drop", false);
}

/* Limit */
static void too_many_may_be_reset(void **state)
{
	turn_away(state, "max_connections: 100, overflow: reset", true);
}

/* Limit */
static void workers_come_and_go_and_the_limit_holds(void **state)
{
	static const char *const sizes[] = {"1", "6", "2", "8", "4"};
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, "max_connections: 100");
	usher_holds_other_fds(s.usher);
	s.crowd->stays_ms = STAYS_MS;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		storm(&s, STORM_MS / 6);
		assert_int_equal(ask_ctl(s.usher, NULL, NULL, "scale", sizes[i], NULL), 0);
	}
	storm(&s, STORM_MS / 6);
	s.crowd->stays_ms = -1;
	fill(&s);
	expect_no_ends(&s);
	let_all_be_served(&s);
	end(&s);
}

/* What it has it keeps; the others go on with the rest. */
static void a_stopped_worker_keeps_what_it_has(void **state)
{
	pid_t pids[USHER_WORKERS_MAX];
	struct scene s;

	begin(&s, state, WORKERS, LIMIT, "max_connections: 100");
	s.crowd->stays_ms = STAYS_MS;
	s.crowd->replace = true;
	crowd_fill(s.crowd);
	storm(&s, STORM_MS / 3);
	ask_ready(s.usher, WORKERS, pids);
	kernel_stop(pids[0]);
	storm(&s, STORM_MS / 3);
	s.awaited = s.crowd->figures.served + LIMIT;
	/* The one that accepts alone stops all; with reuse-port it stops those who come to its
	 * socket, and in the end those are all. */
	if (strcmp(mode, "exclusive") != 0 && strcmp(mode, "reuse-port") != 0)
		assert_true(crowd_run(s.crowd, WAIT_MS, enough_are_served, &s));
	storm(&s, STORM_MS / 3);
	kernel_resume(pids[0]);
	storm(&s, STORM_MS / 3);
	s.crowd->stays_ms = -1;
	fill(&s);
	expect_no_ends(&s);
	let_all_be_served(&s);
	end(&s);
}

/* Its permit is free as soon as it has been looked at. */
static void who_gives_up_while_waiting_holds_up_nobody(void **state)
{
	struct scene s;
	int held;

	begin(&s, state, 2, 1, "max_connections: 1");
	held = connect_tcp("127.0.0.1", s.port);
	client_expect_echo(held);
	for (int i = 0; i < 20; i++) {
		AUTO_CLOSE int gives_up = connect_tcp("127.0.0.1", s.port);
		int waits;

		close_fd(take_fd(&gives_up));
		waits = connect_tcp("127.0.0.1", s.port);
		close(held);
		client_expect_echo(waits);
		held = waits;
	}
	close(held);
	end(&s);
}

/* The dead one's connection lives on in the queue of the stopped one, and counts until it is gone.
 */
static void what_a_dead_worker_had_is_free_when_the_stopped_one_goes_on(void **state)
{
	pid_t pids[USHER_WORKERS_MAX];
	struct scene s;
	int first, second;

	begin(&s, state, 2, 1, "max_connections: 1");
	ask_ready(s.usher, 2, pids);
	kernel_stop(pids[0]);
	first = connect_tcp("127.0.0.1", s.port);
	client_expect_echo(first);
	kernel_kill(pids[1]);
	assert_true(ask_until_replaced(s.usher, pids[1], 2));
	second = connect_tcp("127.0.0.1", s.port);
	kernel_resume(pids[0]);
	client_expect_echo(second);
	close(first);
	close(second);
	end(&s);
}

static bool has_something(int fd)
{
	struct pollfd question = {.fd = fd, .events = POLLIN};

	return poll(&question, 1, 0) == 1;
}

/* Sockets of a path are accepted in the order in which clients came. */
static void the_clients_of_a_path_wait_too(void **state)
{
	struct usher *u = *state;
	bool exclusive = strcmp(mode, "exclusive") == 0;
	int fds[5];

	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: it, path: %s/it.sock, handler: echo, max_connections: 2,\n"
			"     %s%s}\n",
			u->folder,
			exclusive ? "exclusive: " : "distribute: ", exclusive ? "true" : mode);
	usher_start(u);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_unix(ask_address(u, "it"));
		client_send(fds[i], "hi");
	}
	client_expect(fds[0], "hi");
	client_expect(fds[1], "hi");
	for (size_t i = 0; i < 3; i++) {
		ask_expect_total(u, 2);
		for (size_t waiting = i + 2; waiting < ARRAY_LEN(fds); waiting++)
			assert_false(has_something(fds[waiting]));
		close(fds[i]);
		client_expect(fds[i + 2], "hi");
	}
	close(fds[3]);
	close(fds[4]);
}

int main(void)
{
	const struct CMUnitTest of_paths[] = {USHER_TEST(the_clients_of_a_path_wait_too)};
	const struct CMUnitTest of_one_after_the_other[] = {
		USHER_TEST(what_a_dead_worker_had_is_free_when_the_stopped_one_goes_on)};
	const struct CMUnitTest tests[] = {
		USHER_TEST(clients_come_and_go_and_the_limit_holds),
		USHER_TEST(a_full_listener_keeps_nobody_busy),
		USHER_TEST(a_killed_workers_connections_make_room),
		USHER_TEST(one_may_be_the_limit_of_eight_workers),
		USHER_TEST(fewer_than_workers_may_be_the_limit),
		USHER_TEST(no_worker_has_more_than_it_may),
		USHER_TEST(too_many_may_be_dropped),
		USHER_TEST(too_many_may_be_reset),
		USHER_TEST(workers_come_and_go_and_the_limit_holds),
		USHER_TEST(a_stopped_worker_keeps_what_it_has),
		USHER_TEST(who_gives_up_while_waiting_holds_up_nobody),
	};
	const char *only = getenv("USHER_MODE");
	int failed = 0;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		mode = modes[i];
		if (only && strcmp(only, mode) != 0)
			continue;
		watchdog(SECONDS_EACH);
		failed += cmocka_run_group_tests_name(mode, tests, NULL, NULL);
		if (strcmp(mode, "reuse-port") != 0 && strcmp(mode, "source-hash") != 0)
			failed += cmocka_run_group_tests_name(mode, of_paths, NULL, NULL);
		if (strcmp(mode, "round-robin") == 0)
			failed += cmocka_run_group_tests_name(mode, of_one_after_the_other, NULL,
							      NULL);
	}
	return failed;
}
