/* A master of <usher/cluster.h> and its workers: real processes, of this program in other roles. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ipc/messages.h"
#include "common/macros.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define NOBODY 65534

/* --- what workers do ------------------------------------------------------------------------- */

static void ignore_message(struct cluster_worker *self, const struct cluster_message *message,
			   void *ctx)
{
}

static void say_disconnect(struct cluster_worker *self, void *ctx)
{
	printf("disconnected%s\n",
	       cluster_worker_exited_after_disconnect(self) ? " voluntarily" : "");
	fflush(stdout);
}

static const struct cluster_worker_ops worker_ops = {
	.on_message = ignore_message,
	.on_disconnect = say_disconnect,
};

static struct cluster_worker *open_worker(struct ev_loop *loop)
{
	struct cluster_worker *self = NULL;
	int error = cluster_worker_open(loop, &worker_ops, NULL, &self);

	if (error < 0) {
		fprintf(stderr, "open: %s\n", net_error_message(error));
		exit(EXIT_FAILURE);
	}
	return self;
}

static void idle(struct ev_loop *loop)
{
	open_worker(loop);
	ev_run(loop, 0);
}

static void leave(struct ev_loop *loop)
{
	struct cluster_worker *self = open_worker(loop);

	int first = cluster_worker_disconnect(self), second = cluster_worker_disconnect(self);

	if (first != 0 || second != NET_ERR_IPC_DISCONNECTED ||
	    !cluster_worker_exited_after_disconnect(self))
		exit(3);
	ev_run(loop, 0);
	exit(5);
}

static void on_later(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_timer_stop(loop, timer);
}

/* Something else keeps it alive for a while, and it ends by a code of its own. */
static void leave_slowly(struct ev_loop *loop)
{
	struct cluster_worker *self = open_worker(loop);
	ev_timer other;

	ev_timer_init(&other, on_later, 0.3, 0);
	ev_timer_start(loop, &other);
	cluster_worker_disconnect(self);
	ev_run(loop, 0);
	exit(6);
}

static void kill_itself(struct ev_loop *loop)
{
	struct cluster_worker *self = open_worker(loop);
	ev_timer other;

	/* Without the kill it would be there for ever. */
	ev_timer_init(&other, on_later, 3600, 0);
	ev_timer_start(loop, &other);
	cluster_worker_kill(self, SIGTERM);
	ev_run(loop, 0);
	exit(7);
}

static void exit_with_3(struct ev_loop *loop)
{
	open_worker(loop);
	exit(3);
}

static void crash(struct ev_loop *loop)
{
	open_worker(loop);
	raise(SIGKILL);
}

/* It would go on for ever. */
static void do_other_things(struct ev_loop *loop)
{
	ev_timer other;

	open_worker(loop);
	ev_timer_init(&other, on_later, 3600, 0);
	ev_timer_start(loop, &other);
	ev_run(loop, 0);
	exit(7);
}

/* Neither reads its channel nor minds SIGTERM. */
static void hang(struct ev_loop *loop)
{
	signal(SIGTERM, SIG_IGN);
	open_worker(loop);
	for (;;)
		pause();
}

static void never_open(struct ev_loop *loop)
{
	for (;;)
		pause();
}

static void say_pid_and_never_open(struct ev_loop *loop)
{
	printf("%d\n", (int)getpid());
	fflush(stdout);
	never_open(loop);
}

/* Its child has the channel as well, until it is told to end. */
static void leave_the_channel_behind(struct ev_loop *loop)
{
	char byte;

	open_worker(loop);
	if (fork() == 0) {
		close(STDOUT_FILENO);
		_exit(read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1);
	}
	_exit(0);
}

/* A child that it starts is no worker, and has no channel. */
static void start_another_program(struct ev_loop *loop)
{
	open_worker(loop);
	fflush(stdout);
	if (fork() == 0) {
		execl("/bin/sh", "sh", "-c",
		      "env | grep -c '^USHER_[WC]'; ls /proc/self/fd | wc -l", NULL);
		_exit(1);
	}
	wait(NULL);
}

/* --- what no worker does --------------------------------------------------------------------- */

#define CHANNEL 3

static void send_raw(enum ipc_type type, const void *body, const void *row)
{
	static alignas(uint32_t) char packet[IPC_PACKET_MAX];
	int size = ipc_encode(type, body, row, row != NULL, packet);

	if (size < 0 || send(CHANNEL, packet, (size_t)size, 0) != size)
		exit(EXIT_FAILURE);
}

static void talk_nonsense(struct ev_loop *loop)
{
	open_worker(loop);
	send(CHANNEL, "nonsense", 8, 0);
	for (;;)
		pause();
}

static void talk_before_hello(struct ev_loop *loop)
{
	send_raw(IPC_LEAVING, NULL, NULL);
	for (;;)
		pause();
}

static void talk_of_another_version(struct ev_loop *loop)
{
	const struct ipc_hello hello = {.version = IPC_VERSION + 1};

	send_raw(IPC_HELLO, &hello, NULL);
	for (;;)
		pause();
}

static void greet_twice(struct ev_loop *loop)
{
	const struct ipc_hello hello = {.version = IPC_VERSION};

	open_worker(loop);
	send_raw(IPC_HELLO, &hello, NULL);
	for (;;)
		pause();
}

/* A message of usher-worker's, which this master has no use for. */
static void say_what_another_program_says(struct ev_loop *loop)
{
	open_worker(loop);
	send_raw(IPC_READY, NULL, NULL);
	for (;;)
		pause();
}

static void count_what_never_was(struct ev_loop *loop)
{
	const struct ipc_progress progress = {0};
	const struct ipc_counted_row row = {.listener = 12345, .connections = 1};

	open_worker(loop);
	send_raw(IPC_PROGRESS, &progress, &row);
	for (;;)
		pause();
}

/* --- what it is ------------------------------------------------------------------------------ */

static void describe_itself(struct ev_loop *loop)
{
	char cwd[256];
	gid_t groups[64];
	int n_groups = getgroups((int)ARRAY_LEN(groups), groups);
	struct cluster_worker *self;

	printf("is_worker %d, is_master %d\n", cluster_is_worker(), cluster_is_master());
	self = open_worker(loop);
	printf("id %u, pid %d, is_worker %d\n", cluster_worker_id(self),
	       cluster_worker_pid(self) == getpid(), cluster_is_worker());
	printf("cwd %s, uid %d, gid %d, groups %d\n", getcwd(cwd, sizeof(cwd)), (int)getuid(),
	       (int)getgid(), n_groups);
	printf("A=%s B=%s C=%s\n", getenv("A"), getenv("B"), getenv("C"));
	fflush(stdout);
}

static const struct cluster_role roles[] = {
	{"idle", idle},
	{"leave", leave},
	{"leave_slowly", leave_slowly},
	{"kill_itself", kill_itself},
	{"exit_with_3", exit_with_3},
	{"crash", crash},
	{"hang", hang},
	{"do_other_things", do_other_things},
	{"never_open", never_open},
	{"say_pid_and_never_open", say_pid_and_never_open},
	{"leave_the_channel_behind", leave_the_channel_behind},
	{"start_another_program", start_another_program},
	{"describe_itself", describe_itself},
	{"talk_nonsense", talk_nonsense},
	{"talk_before_hello", talk_before_hello},
	{"talk_of_another_version", talk_of_another_version},
	{"greet_twice", greet_twice},
	{"say_what_another_program_says", say_what_another_program_says},
	{"count_what_never_was", count_what_never_was},
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

/* WK-1, IP-13: whoever has the channel after it. */
static void exit_comes_before_disconnect_when_the_channel_outlives_the_process(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_settings settings = {.has_stdio = true};
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	settings.stdio[0] = pair[0];
	settings.stdio[1] = STDOUT_FILENO;
	settings.stdio[2] = STDERR_FILENO;
	cluster_world_start(w, "leave_the_channel_behind", &settings);
	cluster_world_fork(w);
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

	cluster_world_start(w, "leave_slowly", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "disconnect 1");
	assert_false(cluster_worker_is_dead(worker));
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 6 0 voluntary");
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

static void who_minds_the_first_signal_needs_no_second(void **state)
{
	const struct cluster_settings settings = {.disconnect_timeout_ms = 100};
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

/* --- settings -------------------------------------------------------------------------------- */

/* Runs a worker to its end with stdout in a pipe; what it said is in text. */
static void run_and_read(struct cluster_world *w, const char *role,
			 struct cluster_settings *settings, const char *const *env, char *text,
			 size_t size)
{
	struct cluster_worker *worker;
	ssize_t got;
	size_t used = 0;
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	settings->has_stdio = true;
	settings->stdio[0] = -1;
	settings->stdio[1] = pair[1];
	settings->stdio[2] = STDERR_FILENO;
	cluster_world_start(w, role, settings);
	assert_int_equal(cluster_fork(w->cluster, env, &worker), 0);
	close(pair[1]);
	ev_run(w->loop, 0);
	while ((got = read(pair[0], text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(pair[0]);
}

/* WK-11 */
static void a_worker_has_the_environment_the_folder_and_the_arguments_it_was_given(void **state)
{
	static const char *const common[] = {"A=common", "B=common", NULL};
	static const char *const own[] = {"B=own", "C=own", NULL};
	struct cluster_settings settings = {.env = common, .cwd = "/"};
	struct cluster_world *w = *state;
	char text[1024], expected[1024];

	setenv("A", "ours", 1);
	run_and_read(w, "describe_itself", &settings, own, text, sizeof(text));
	unsetenv("A");
	snprintf(expected, sizeof(expected),
		 "is_worker 1, is_master 0\nid 1, pid 1, is_worker 1\n"
		 "cwd /, uid %d, gid %d, groups %d\nA=common B=own C=own\n",
		 (int)getuid(), (int)getgid(), getgroups(0, NULL));
	assert_string_equal(text, expected);
	assert_false(cluster_is_worker());
	assert_true(cluster_is_master());
}

/* WK-11 */
static void a_worker_runs_as_the_given_user_without_other_groups(void **state)
{
	struct cluster_settings settings = {
		.cwd = "/", .has_uid = true, .uid = NOBODY, .has_gid = true, .gid = NOBODY};
	struct cluster_world *w = *state;
	char text[1024];

	if (geteuid() != 0) {
		print_message("skipped: only root can become another user\n");
		skip();
	}
	assert_int_equal(setgroups(2, (gid_t[]){1, 2}), 0);
	run_and_read(w, "describe_itself", &settings, NULL, text, sizeof(text));
	assert_int_equal(setgroups(0, NULL), 0);
	assert_non_null(strstr(text, "cwd /, uid 65534, gid 65534, groups 0\n"));
}

/* IP-13 */
static void what_a_worker_starts_has_no_channel(void **state)
{
	struct cluster_settings settings = {0};
	struct cluster_world *w = *state;
	char text[1024];

	run_and_read(w, "start_another_program", &settings, NULL, text, sizeof(text));
	/* 0, 1, 2 and the one that ls reads the folder with */
	assert_string_equal(text, "0\n4\n");
}

static void a_program_that_is_not_there_is_named_by_its_error(void **state)
{
	const struct cluster_settings settings = {.exec = "/nonexistent/program"};
	struct cluster_world *w = *state;

	cluster_world_start(w, "", &settings);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->error, "execve ENOENT /nonexistent/program");
	assert_string_equal(w->story, "fork 1, error 1, disconnect 1, exit 1 71 0");
}

static void a_folder_that_is_not_there_is_named_by_its_error(void **state)
{
	const struct cluster_settings settings = {.cwd = "/nonexistent/folder"};
	struct cluster_world *w = *state;

	cluster_world_start(w, "idle", &settings);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->error, "chdir ENOENT /nonexistent/folder");
}

/* A relative path is looked for from where the master was, not from the worker's folder. */
static void a_relative_program_is_found_from_the_masters_folder(void **state)
{
	static const char *const args[] = {"-c", "exit 4", NULL};
	const struct cluster_settings settings = {.exec = "bin/sh", .args = args, .cwd = "/proc"};
	struct cluster_world *w = *state;
	AUTO_FREE char *here = getcwd(NULL, 0);

	assert_int_equal(chdir("/"), 0);
	cluster_world_start(w, "", &settings);
	assert_int_equal(chdir(here), 0);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, disconnect 1, exit 1 4 0");
}

/* WK-11 */
static void settings_may_change_between_forks_but_for_the_policy(void **state)
{
	static const char *const args[] = {"leave", NULL};
	struct cluster_settings settings = {.args = args};
	struct cluster_world *w = *state;

	cluster_world_start(w, "exit_with_3", NULL);
	cluster_world_fork(w);
	assert_int_equal(cluster_set_settings(w->cluster, &settings), 0);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_true(cluster_world_told(w, "exit 1 3 0"));
	assert_true(cluster_world_told(w, "exit 2 5 0 voluntary"));
}

static void what_makes_no_sense_is_refused(void **state)
{
	struct cluster_world *w = *state;
	const struct cluster_settings settings = {.scheduling_policy = 77};
	struct ev_loop *other = ev_loop_new(0);
	struct cluster_worker *self;
	struct cluster *cluster;

	assert_int_equal(cluster_setup_master(other, NULL, NULL, NULL, &cluster), -EINVAL);
	assert_int_equal(cluster_setup_master(w->loop, &settings, NULL, NULL, &cluster), -EINVAL);
	assert_int_equal(cluster_worker_open(w->loop, NULL, NULL, &self), -ENOTCONN);
	ev_loop_destroy(other);
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

static bool no_children(void *ctx)
{
	ev_run(ev_default_loop(0), EVRUN_NOWAIT);
	return kernel_children(0, NULL, 0) == 0;
}

/* CB-3 */
static void a_cluster_may_be_freed_in_each_of_its_events(void **state)
{
	static const char *const events[] = {"fork", "online", "disconnect", "exit"};
	struct cluster_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		strcpy(w->address, events[i]);
		w->react = free_at;
		w->story[0] = '\0';
		cluster_world_start(w, "exit_with_3", NULL);
		cluster_world_fork(w);
		cluster_run_until(w, events[i]);
		assert_null(w->cluster);
		assert_true(poll_until(no_children, NULL, WAIT_MS));
		assert_string_equal(strrchr(w->story, ' '), i < 3 ? " 1" : " 0");
	}
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
	assert_true(poll_until(no_children, NULL, WAIT_MS));
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
	assert_true(poll_until(no_children, NULL, WAIT_MS));
}

/* The worst that it can do is to end itself. */
static void who_breaks_the_rules_of_the_channel_is_killed(void **state)
{
	static const char *const crimes[] = {"talk_nonsense",
					     "talk_before_hello",
					     "talk_of_another_version",
					     "greet_twice",
					     "say_what_another_program_says",
					     "count_what_never_was"};
	struct cluster_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(crimes); i++) {
		w->story[0] = '\0';
		cluster_world_start(w, crimes[i], NULL);
		cluster_world_fork(w);
		cluster_run_until(w, "exit 1");
		if (!strstr(w->story, "error 1, disconnect 1, exit 1 -1 9"))
			fail_msg("%s: %s", crimes[i], w->story);
		cluster_free(w->cluster);
		w->cluster = NULL;
	}
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

/* --- a master that dies ---------------------------------------------------------------------- */

static void tell_pid(struct cluster *cluster, struct cluster_worker *worker, void *ctx)
{
	printf("%d\n", (int)cluster_worker_pid(worker));
	fflush(stdout);
}

static _Noreturn void be_the_master(const char *role)
{
	static const struct cluster_ops ops = {.on_online = tell_pid};
	const char *const args[] = {role, NULL};
	const struct cluster_settings settings = {.args = args};
	struct ev_loop *loop = ev_default_loop(0);
	struct cluster *cluster;
	struct cluster_worker *worker;

	if (cluster_setup_master(loop, &settings, &ops, NULL, &cluster) < 0 ||
	    cluster_fork(cluster, NULL, &worker) < 0)
		exit(EXIT_FAILURE);
	ev_run(loop, 0);
	exit(EXIT_SUCCESS);
}

/* Has another process be a master, kills it, and waits for its worker, which is ours then. */
static void kill_master_of(const char *role, int *ret_status, char *said, size_t size)
{
	char path[] = "/proc/self/exe", name[] = "master", own[64];
	char *const argv[] = {name, own, NULL};
	int pair[2], worker = 0;
	FILE *out;
	pid_t pid;

	snprintf(own, sizeof(own), "%s", role);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pair[1], STDOUT_FILENO);
		execv(path, argv);
		_exit(1);
	}
	close(pair[1]);
	out = fdopen(pair[0], "r");
	assert_int_equal(fscanf(out, "%d", &worker), 1);
	assert_int_equal(fgetc(out), '\n');
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(waitpid(worker, ret_status, 0), worker);
	said[fread(said, 1, size - 1, out)] = '\0';
	fclose(out);
}

/* WK-7 */
static void a_worker_ends_with_0_when_its_master_was_killed(void **state)
{
	int64_t since = now_ms();
	char said[256];
	int status;

	kill_master_of("do_other_things", &status, said, sizeof(said));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_string_equal(said, "disconnected\n");
	assert_true(now_ms() - since < WAIT_MS);
}

/* WK-7 */
static void a_worker_that_hangs_does_not_outlive_its_master(void **state)
{
	char said[256];
	int status;

	kill_master_of("hang", &status, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGALRM);
}

/* WK-7 */
static void a_process_that_never_became_a_worker_dies_with_its_master(void **state)
{
	char said[256];
	int status;

	kill_master_of("say_pid_and_never_open", &status, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
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
		TEST(nobody_takes_the_place_of_a_worker_that_died),
		TEST(a_worker_has_the_environment_the_folder_and_the_arguments_it_was_given),
		TEST(a_worker_runs_as_the_given_user_without_other_groups),
		TEST(what_a_worker_starts_has_no_channel),
		TEST(a_program_that_is_not_there_is_named_by_its_error),
		TEST(a_folder_that_is_not_there_is_named_by_its_error),
		TEST(a_relative_program_is_found_from_the_masters_folder),
		TEST(settings_may_change_between_forks_but_for_the_policy),
		TEST(what_makes_no_sense_is_refused),
		TEST(a_cluster_may_be_freed_in_each_of_its_events),
		TEST(workers_end_when_the_cluster_is_freed),
		TEST(a_held_worker_outlives_its_cluster),
		TEST(who_breaks_the_rules_of_the_channel_is_killed),
		TEST(a_thousand_workers_leave_nothing_behind),
#undef TEST
		cmocka_unit_test(a_worker_ends_with_0_when_its_master_was_killed),
		cmocka_unit_test(a_worker_that_hangs_does_not_outlive_its_master),
		cmocka_unit_test(a_process_that_never_became_a_worker_dies_with_its_master),
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	if (argc == 2)
		be_the_master(argv[1]);
	watchdog(250);
	return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
