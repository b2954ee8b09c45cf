/* What a worker of <usher/cluster.h> is started with, as its master has set it. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/cluster_roles.h"
#include "tests/helpers/wait.h"

#define NOBODY 65534

/* --- what workers do ------------------------------------------------------------------------- */

static void describe_itself(struct ev_loop *loop)
{
	char cwd[256];
	gid_t groups[64];
	int n_groups = getgroups((int)ARRAY_LEN(groups), groups);
	struct cluster_worker *self;

	printf("is_worker %d, is_master %d\n", cluster_is_worker(), cluster_is_master());
	self = cluster_role_open(loop);
	printf("id %u, pid %d, is_worker %d\n", cluster_worker_id(self),
	       cluster_worker_pid(self) == getpid(), cluster_is_worker());
	printf("cwd %s, uid %d, gid %d, groups %d\n", getcwd(cwd, sizeof(cwd)), (int)getuid(),
	       (int)getgid(), n_groups);
	printf("A=%s B=%s C=%s\n", getenv("A"), getenv("B"), getenv("C"));
	fflush(stdout);
}

/* A child that it starts is no worker, and has no channel. */
static void start_another_program(struct ev_loop *loop)
{
	cluster_role_open(loop);
	fflush(stdout);
	if (fork() == 0) {
		execl("/bin/sh", "sh", "-c",
		      "env | grep -c '^USHER_[WC]'; ls /proc/self/fd | wc -l", NULL);
		_exit(1);
	}
	wait(NULL);
}

static const struct cluster_role roles[] = {
	{"describe_itself", describe_itself},
	{"exit_with_3", cluster_role_exit_with_3},
	{"idle", cluster_role_idle},
	{"leave", cluster_role_leave},
	{"start_another_program", start_another_program},
};

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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(a_worker_has_the_environment_the_folder_and_the_arguments_it_was_given),
		TEST(a_worker_runs_as_the_given_user_without_other_groups),
		TEST(what_a_worker_starts_has_no_channel),
		TEST(a_program_that_is_not_there_is_named_by_its_error),
		TEST(a_folder_that_is_not_there_is_named_by_its_error),
		TEST(a_relative_program_is_found_from_the_masters_folder),
		TEST(settings_may_change_between_forks_but_for_the_policy),
		TEST(what_makes_no_sense_is_refused),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(250);
	return cmocka_run_group_tests_name("cluster settings", tests, NULL, NULL);
}
