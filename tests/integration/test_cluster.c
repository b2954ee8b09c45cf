/* A master of <usher/cluster.h> and its workers: real processes, of this program in other roles. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/cluster_roles.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

static void on_later(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_timer_stop(loop, timer);
}

static void on_input(struct ev_loop *loop, ev_io *io, int events)
{
	ev_io_stop(loop, io);
}

/* Something else keeps it alive until its input ends, and it ends by a code of its own. */
static void leave_slowly(struct ev_loop *loop)
{
	struct cluster_worker *self = cluster_role_open(loop);
	ev_io input;

	ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
	ev_io_start(loop, &input);
	cluster_worker_disconnect(self);
	ev_run(loop, 0);
	exit(6);
}

static void kill_itself(struct ev_loop *loop)
{
	struct cluster_worker *self = cluster_role_open(loop);
	ev_timer other;

	/* Without the kill it would be there for ever. */
	ev_timer_init(&other, on_later, 3600, 0);
	ev_timer_start(loop, &other);
	cluster_worker_kill(self, SIGTERM);
	ev_run(loop, 0);
	exit(7);
}

static void crash(struct ev_loop *loop)
{
	cluster_role_open(loop);
	raise(SIGKILL);
}

/* Its child has the channel as well, until it is told to end. */
static void leave_the_channel_behind(struct ev_loop *loop)
{
	char byte;

	cluster_role_open(loop);
	if (fork() == 0) {
		close(STDOUT_FILENO);
		_exit(read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1);
	}
	_exit(0);
}

static const struct cluster_role roles[] = {
	{"idle", cluster_role_idle},
	{"leave", cluster_role_leave},
	{"leave_slowly", leave_slowly},
	{"kill_itself", kill_itself},
	{"exit_with_3", cluster_role_exit_with_3},
	{"crash", crash},
	{"hang", cluster_role_hang},
	{"never_open", cluster_role_never_open},
	{"leave_the_channel_behind", leave_the_channel_behind},
};

/* --- events ---------------------------------------------------------------------------------- */

/* WK-1 */
static void events_come_once_each_in_their_order(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "exit_with_3", NULL);
	for (unsigned id = 1; id <= 3; id++) {
		struct cluster_worker *worker = cluster_world_fork(w);
		char expected[128];

		assert_int_equal(cluster_worker_id(worker), id);
		assert_true(cluster_worker_is_connected(worker));
		assert_false(cluster_worker_is_dead(worker));
		w->story[0] = '\0';
		ev_run(w->loop, 0); /* until nothing is left to wait for */
		snprintf(expected, sizeof(expected),
			 "fork %u, online %u, disconnect %u, exit %u 3 0", id, id, id, id);
		assert_string_equal(w->story, expected);
	}
}

static void a_worker_that_opens_no_channel_is_never_online(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "never_open", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "fork 1");
	assert_int_equal(cluster_worker_kill(worker, SIGTERM), 0);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, disconnect 1, exit 1 -1 15");
}

/* A worker whose input ends when the pipe's other end is closed. */
static struct cluster_worker *fork_with_input(struct cluster_world *w, const char *role,
					      int pair[2])
{
	struct cluster_settings settings = {.has_stdio = true};

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	settings.stdio[0] = pair[0];
	settings.stdio[1] = STDOUT_FILENO;
	settings.stdio[2] = STDERR_FILENO;
	cluster_world_start(w, role, &settings);
	return cluster_world_fork(w);
}

/* WK-1, IP-13: whoever has the channel after it. */
static void exit_comes_before_disconnect_when_the_channel_outlives_the_process(void **state)
{
	struct cluster_world *w = *state;
	int pair[2];

	fork_with_input(w, "leave_the_channel_behind", pair);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, exit 1 0 0, disconnect 1");
	close(pair[0]);
	close(pair[1]);
}

static void listed_at(struct cluster_world *w, const char *event, struct cluster_worker *worker)
{
	bool listed = cluster_next_worker(w->cluster, NULL) == worker;

	if (strncmp(event, "disconnect", 10) == 0)
		assert_true(listed);
	if (strncmp(event, "exit", 4) == 0)
		assert_false(listed);
}

/* WK-2: of a worker that dies by itself the channel ends first. */
static void a_worker_is_listed_until_both_channel_and_process_have_ended(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "exit_with_3", NULL);
	w->react = listed_at;
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_true(cluster_world_told(w, "exit 1"));
}

static void the_list_goes_by_forks_and_may_be_disconnected_on_the_way(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker = NULL, *all[3];

	cluster_world_start(w, "idle", NULL);
	assert_null(cluster_next_worker(w->cluster, NULL));
	for (size_t i = 0; i < 3; i++)
		all[i] = cluster_world_fork(w);
	for (size_t i = 0; i < 3; i++) {
		worker = cluster_next_worker(w->cluster, worker);
		assert_ptr_equal(worker, all[i]);
		assert_int_equal(cluster_worker_disconnect(worker), 0);
	}
	assert_null(cluster_next_worker(w->cluster, worker));
	assert_null(cluster_next_worker(w->cluster, NULL));
	ev_run(w->loop, 0);
	assert_int_equal(cluster_world_count(w, "voluntary"), 3);
}

/* --- disconnect and kill --------------------------------------------------------------------- */

/* WK-4, WK-5, IP-11 */
static void a_worker_that_the_master_disconnects_ends_voluntarily(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "idle", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "online 1");
	w->in_call = true;
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	assert_int_equal(cluster_worker_disconnect(worker), NET_ERR_IPC_DISCONNECTED);
	w->in_call = false;
	assert_false(cluster_worker_is_connected(worker));
	assert_true(cluster_worker_exited_after_disconnect(worker));
	assert_null(cluster_next_worker(w->cluster, NULL));
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 0 0 voluntary");
}

static void a_worker_may_be_disconnected_before_it_is_online(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "idle", NULL);
	assert_int_equal(cluster_worker_disconnect(cluster_world_fork(w)), 0);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 0 0 voluntary");
}

/* WK-4 */
static void a_worker_that_disconnects_itself_ends_voluntarily(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "leave", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 5 0 voluntary");
}

/* WK-5 */
static void what_else_a_worker_does_keeps_it_alive_after_the_disconnect(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int pair[2];

	worker = fork_with_input(w, "leave_slowly", pair);
	cluster_run_until(w, "disconnect 1");
	assert_false(cluster_worker_is_dead(worker));
	close(pair[1]);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 6 0 voluntary");
	close(pair[0]);
}

/* WK-8 */
static void a_worker_that_kills_itself_ends_with_0_whatever_it_still_had(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "kill_itself", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 0 0 voluntary");
}

/* WK-4, WK-8 */
static void a_kill_by_the_master_is_a_signal_and_nothing_more(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "idle", NULL);
	worker = cluster_world_fork(w);
	cluster_worker_hold(worker);
	cluster_run_until(w, "online 1");
	assert_int_equal(cluster_worker_kill(worker, 12345), -EINVAL);
	assert_int_equal(cluster_worker_kill(worker, SIGTERM), 0);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 -1 15");
	assert_int_equal(cluster_worker_kill(worker, SIGTERM), -ESRCH);
	assert_int_equal(cluster_worker_disconnect(worker), NET_ERR_IPC_DISCONNECTED);
	assert_int_equal(cluster_worker_id(worker), 1);
	cluster_worker_release(worker);
}

/* WK-4 */
static void a_crash_is_not_voluntary(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "crash", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 -1 9");
}

/* WK-5, DF-6: SIGTERM is ignored, SIGKILL cannot be. */
static void who_does_not_end_in_time_is_terminated_and_then_killed(void **state)
{
	const struct cluster_settings settings = {.disconnect_timeout_ms = 100};
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "hang", &settings);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "online 1");
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 -1 9 voluntary");
}

/* The second comes as long after the first, by which time it must have begun. */
static void who_minds_the_first_signal_needs_no_second(void **state)
{
	const struct cluster_settings settings = {.disconnect_timeout_ms = 3000};
	struct cluster_world *w = *state;

	cluster_world_start(w, "never_open", &settings);
	assert_int_equal(cluster_worker_disconnect(cluster_world_fork(w)), 0);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, disconnect 1, exit 1 -1 15 voluntary");
}

static void on_all_disconnected(struct cluster *cluster, void *ctx)
{
	struct cluster_world *w = ctx;

	assert_false(w->in_call);
	strcat(w->story, w->story[0] ? ", all" : "all");
}

/* WK-9 */
static void disconnecting_all_is_told_after_the_last(void **state)
{
	struct cluster_world *w = *state;
	const char *all;

	cluster_world_start(w, "idle", NULL);
	for (int i = 0; i < 3; i++)
		cluster_world_fork(w);
	cluster_run_until(w, "online 3");
	assert_int_equal(cluster_worker_disconnect(cluster_next_worker(w->cluster, NULL)), 0);
	w->in_call = true;
	assert_int_equal(cluster_disconnect(w->cluster, on_all_disconnected, w), 0);
	w->in_call = false;
	assert_null(cluster_next_worker(w->cluster, NULL));
	ev_run(w->loop, 0);
	assert_int_equal(cluster_world_count(w, "all"), 1);
	all = strstr(w->story, "all");
	for (int i = 1; i <= 3; i++) {
		char event[32];

		snprintf(event, sizeof(event), "disconnect %d", i);
		assert_true(strstr(w->story, event) < all);
	}
	assert_int_equal(cluster_world_count(w, "voluntary"), 3);
}

/* WK-9 */
static void disconnecting_nobody_is_told_all_the_same(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "idle", NULL);
	w->in_call = true;
	assert_int_equal(cluster_disconnect(w->cluster, on_all_disconnected, w), 0);
	assert_int_equal(cluster_disconnect(w->cluster, NULL, NULL), 0);
	w->in_call = false;
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "all");
}

/* CB-3: though it was due by then. */
static void nobody_is_told_after_a_free(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "idle", NULL);
	assert_int_equal(cluster_disconnect(w->cluster, on_all_disconnected, w), 0);
	cluster_free(w->cluster);
	w->cluster = NULL;
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "");
}

/* WK-10 */
static void nobody_takes_the_place_of_a_worker_that_died(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "crash", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_null(cluster_next_worker(w->cluster, NULL));
	assert_int_equal(kernel_children(0, NULL, 0), 0);
	assert_int_equal(cluster_world_count(w, "fork"), 1);
}

/* --- freeing --------------------------------------------------------------------------------- */

static void free_at(struct cluster_world *w, const char *event, struct cluster_worker *worker)
{
	struct cluster *cluster = w->cluster;

	if (strncmp(event, w->address, strlen(w->address)) != 0)
		return;
	w->cluster = NULL;
	cluster_free(cluster);
	assert_false(cluster_worker_is_connected(worker));
}

static void expect_freed_in_each_event(struct cluster_world *w, bool has_ended_before)
{
	static const char *const events[] = {"fork", "online", "disconnect", "exit"};

	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		struct cluster_worker *worker;

		strcpy(w->address, events[i]);
		w->react = free_at;
		w->story[0] = '\0';
		cluster_world_start(w, "exit_with_3", NULL);
		worker = cluster_world_fork(w);
		if (has_ended_before)
			kernel_await_end(cluster_worker_pid(worker));
		cluster_run_until(w, events[i]);
		assert_null(w->cluster);
		cluster_run_until_childless(w);
		assert_string_equal(strrchr(w->story, ' '), i < 3 ? " 1" : " 0");
	}
}

/* CB-3 */
static void a_cluster_may_be_freed_in_each_of_its_events(void **state)
{
	expect_freed_in_each_event(*state, false);
}

/* CB-3: its last words are heard when its end is. */
static void so_it_may_where_the_worker_has_ended_meanwhile(void **state)
{
	expect_freed_in_each_event(*state, true);
}

/* WK-7 */
static void workers_end_when_the_cluster_is_freed(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "idle", NULL);
	cluster_world_fork(w);
	cluster_world_fork(w);
	cluster_run_until(w, "online 2");
	cluster_free(w->cluster);
	w->cluster = NULL;
	cluster_run_until_childless(w);
	assert_int_equal(cluster_world_count(w, "exit"), 0);
}

static void a_held_worker_outlives_its_cluster(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "idle", NULL);
	worker = cluster_world_fork(w);
	cluster_worker_hold(worker);
	cluster_free(w->cluster);
	w->cluster = NULL;
	assert_int_equal(cluster_worker_id(worker), 1);
	assert_int_equal(cluster_worker_disconnect(worker), NET_ERR_IPC_DISCONNECTED);
	assert_int_equal(cluster_worker_kill(worker, SIGTERM), -ESRCH);
	cluster_worker_release(worker);
	cluster_run_until_childless(w);
}

#define FORKS     1000
#define AT_A_TIME 20

static void fork_another(struct cluster_world *w, const char *event, struct cluster_worker *worker)
{
	struct cluster_worker *next;

	w->story[0] = '\0';
	if (strncmp(event, "exit", 4) != 0)
		return;
	assert_true(w->last_code == 5 && cluster_worker_exited_after_disconnect(worker));
	w->listening.port++;
	if (w->listening.port + AT_A_TIME <= FORKS)
		assert_int_equal(cluster_fork(w->cluster, NULL, &next), 0);
}

/* Descriptors are looked after by the teardown, memory by the sanitizer. */
static void a_thousand_workers_leave_nothing_behind(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "leave", NULL);
	w->react = fork_another;
	for (int i = 0; i < AT_A_TIME; i++)
		assert_int_equal(cluster_fork(w->cluster, NULL, &worker), 0);
	ev_timer_stop(w->loop, &w->watchdog);
	ev_timer_set(&w->watchdog, 200, 0);
	ev_timer_start(w->loop, &w->watchdog);
	ev_run(w->loop, 0);
	assert_int_equal(w->listening.port, FORKS);
	assert_int_equal(kernel_children(0, NULL, 0), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(events_come_once_each_in_their_order),
		TEST(a_worker_that_opens_no_channel_is_never_online),
		TEST(exit_comes_before_disconnect_when_the_channel_outlives_the_process),
		TEST(a_worker_is_listed_until_both_channel_and_process_have_ended),
		TEST(the_list_goes_by_forks_and_may_be_disconnected_on_the_way),
		TEST(a_worker_that_the_master_disconnects_ends_voluntarily),
		TEST(a_worker_may_be_disconnected_before_it_is_online),
		TEST(a_worker_that_disconnects_itself_ends_voluntarily),
		TEST(what_else_a_worker_does_keeps_it_alive_after_the_disconnect),
		TEST(a_worker_that_kills_itself_ends_with_0_whatever_it_still_had),
		TEST(a_kill_by_the_master_is_a_signal_and_nothing_more),
		TEST(a_crash_is_not_voluntary),
		TEST(who_does_not_end_in_time_is_terminated_and_then_killed),
		TEST(who_minds_the_first_signal_needs_no_second),
		TEST(disconnecting_all_is_told_after_the_last),
		TEST(disconnecting_nobody_is_told_all_the_same),
		TEST(nobody_is_told_after_a_free),
		TEST(nobody_takes_the_place_of_a_worker_that_died),
		TEST(a_cluster_may_be_freed_in_each_of_its_events),
		TEST(so_it_may_where_the_worker_has_ended_meanwhile),
		TEST(workers_end_when_the_cluster_is_freed),
		TEST(a_held_worker_outlives_its_cluster),
		TEST(a_thousand_workers_leave_nothing_behind),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(250);
	return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
