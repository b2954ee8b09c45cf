/* Workers of <usher/cluster.h> whose master dies. */
#include "tests/helpers/cluster_world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/cluster_roles.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

static void on_later(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_timer_stop(loop, timer);
}

/* It would go on for ever. */
static void do_other_things(struct ev_loop *loop)
{
	ev_timer other;

	cluster_role_open(loop);
	ev_timer_init(&other, on_later, 3600, 0);
	ev_timer_start(loop, &other);
	ev_run(loop, 0);
	exit(7);
}

static void say_pid_and_never_open(struct ev_loop *loop)
{
	printf("%d\n", (int)getpid());
	fflush(stdout);
	cluster_role_never_open(loop);
}

static const struct cluster_role roles[] = {
	{"do_other_things", do_other_things},
	{"hang", cluster_role_hang},
	{"say_pid_and_never_open", say_pid_and_never_open},
};

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
		cmocka_unit_test(a_worker_ends_with_0_when_its_master_was_killed),
		cmocka_unit_test(a_worker_that_hangs_does_not_outlive_its_master),
		cmocka_unit_test(a_process_that_never_became_a_worker_dies_with_its_master),
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	if (argc == 2)
		be_the_master(argv[1]);
	watchdog(250);
	return cmocka_run_group_tests_name("cluster orphans", tests, NULL, NULL);
}
