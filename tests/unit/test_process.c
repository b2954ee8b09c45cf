#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "common/cluster/process.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define NOBODY 65534

/* wrap: poll chdir */
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __real_chdir(const char *path);
int __wrap_chdir(const char *path);

static size_t polls;

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	polls++;
	return __real_poll(fds, count, timeout_ms);
}

/* What a new process is slow at, as on a machine that has other things to do. */
enum { NOTHING, BEGINNING, GOING_ON, EVER_BEGINNING };
static int slow_at = NOTHING;

static void be_slow_at(int what)
{
	if (slow_at == what)
		__real_poll(NULL, 0, 20);
}

/* The first thing that runs in it. */
static void on_fork(void)
{
	be_slow_at(BEGINNING);
	if (slow_at == EVER_BEGINNING)
		raise(SIGSTOP);
}

int __wrap_chdir(const char *path)
{
	be_slow_at(GOING_ON);
	return __real_chdir(path);
}

/* A process whose program is a shell script that each test writes. */
struct fixture {
	struct ev_loop *loop;
	struct process process;
	char folder[32];
	char program[64];
	char output[64];
	const char *const *env;
	const char *cwd;
	const char *user; /* of the program; NULL: ours */
	size_t fds;       /* open before the test */

	int heard; /* messages */
	int heard_at_exit;
	int exits;
	int status;
	int lost;
	int failures;
	enum ipc_step step;
	int error;
	int deadlines;
	bool is_in_time; /* with its first message */
};

static void on_message(struct process *process, struct ipc_message *message, void *ctx)
{
	struct fixture *f = ctx;

	f->heard++;
	if (f->is_in_time)
		process_set_deadline(process, 0);
}

static void on_failed(struct process *process, enum ipc_step step, int error, void *ctx)
{
	struct fixture *f = ctx;

	f->failures++;
	f->step = step;
	f->error = error;
}

static void on_lost(struct process *process, int error, const char *why, void *ctx)
{
	struct fixture *f = ctx;

	f->lost++;
}

static void on_exit_status(struct process *process, void *ctx)
{
	struct fixture *f = ctx;

	f->exits++;
	f->heard_at_exit = f->heard;
	f->status = process->status;
	ev_break(f->loop, EVBREAK_ALL);
}

static void on_deadline(struct process *process, void *ctx)
{
	struct fixture *f = ctx;

	f->deadlines++;
	ev_break(f->loop, EVBREAK_ALL);
}

static const struct process_ops ops = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds = open_fd_count();
	strcpy(f->folder, "/tmp/usher-child-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->program, sizeof(f->program), "%s/program", f->folder);
	snprintf(f->output, sizeof(f->output), "%s/output", f->folder);
	f->loop = ev_default_loop(0);
	process_init(&f->process, f->loop, &ops, f);
	alarm(WAIT_MS / 1000);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	process_kill(&f->process);
	process_close(&f->process);
	ev_loop_destroy(f->loop);
	unlink(f->program);
	unlink(f->output);
	assert_int_equal(rmdir(f->folder), 0);
	assert_int_equal(open_fd_count(), f->fds);
	alarm(0);
	free(f);
	return 0;
}

/* In the script %s is a file to write to. */
static void spawn(struct fixture *f, const char *script)
{
	struct program program;
	FILE *file = fopen(f->program, "we");

	assert_non_null(file);
	fputs("#!/bin/sh\n", file);
	fprintf(file, "output=%s\n%s\n", f->output, script);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f->program, 0755), 0);
	assert_int_equal(program_open(f->program, &program), 0);
	program.confined = true;
	program.env = f->env;
	program.cwd = f->cwd;
	program.user = f->user;
	program.has_uid = program.has_gid = f->user;
	program.uid = program.gid = NOBODY;
	assert_int_equal(process_spawn(&f->process, &program), 0);
	program_close(&program);
}

static void run(struct fixture *f)
{
	ev_run(f->loop, 0);
}

static void read_output(struct fixture *f, char *text, size_t size)
{
	FILE *file = fopen(f->output, "re");

	assert_non_null(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

static void expect_output(struct fixture *f, const char *expected)
{
	char text[4096];

	read_output(f, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void its_exit_status_is_told_once(void **state)
{
	struct fixture *f = *state;

	spawn(f, "exit 3");
	assert_true(f->process.pid > 0);
	run(f);
	assert_int_equal(f->exits, 1);
	assert_true(WIFEXITED(f->status));
	assert_int_equal(WEXITSTATUS(f->status), 3);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->exits, 1);
}

static void what_cannot_be_executed_is_refused(void **state)
{
	struct fixture *f = *state;
	struct program program;

	assert_int_equal(program_open("/nonexistent/program", &program), -ENOENT);
	fclose(fopen(f->program, "we"));
	assert_int_equal(chmod(f->program, 0644), 0);
	assert_int_equal(program_open(f->program, &program), -EACCES);
}

static void a_program_that_vanished_is_told_before_its_end(void **state)
{
	struct fixture *f = *state;
	struct program program = {.path = "/nonexistent/program", .fd = -1};

	assert_int_equal(process_spawn(&f->process, &program), 0);
	run(f);
	assert_int_equal(WEXITSTATUS(f->status), EX_OSERR);
	assert_int_equal(f->failures, 1);
	assert_int_equal(f->step, IPC_STEP_EXECUTE);
	assert_int_equal(f->error, -ENOENT);
	assert_int_equal(f->lost, 0);
}

/* FAILED, of a step that there is not, with an error that is none. */
static void a_failure_that_makes_no_sense_is_a_loss(void **state)
{
	struct fixture *f = *state;

	spawn(f, "printf '\\050\\000\\000\\000\\004\\000\\000\\000\\000\\000\\000\\200' >&3\n");
	run(f);
	assert_int_equal(f->failures, 0);
	assert_int_equal(f->lost, 1);
}

static void what_cannot_be_set_up_names_the_step(void **state)
{
	struct fixture *f = *state;
	struct program program;

	assert_int_equal(program_open("/bin/true", &program), 0);
	program.cwd = "/nonexistent";
	assert_int_equal(process_spawn(&f->process, &program), 0);
	run(f);
	assert_int_equal(f->step, IPC_STEP_FOLDER);
	assert_int_equal(f->error, -ENOENT);

	program.cwd = NULL;
	program.has_stdio = true;
	program.stdio[0] = program.stdio[1] = -1;
	program.stdio[2] = 1000000;
	assert_int_equal(process_spawn(&f->process, &program), 0);
	run(f);
	assert_int_equal(f->step, IPC_STEP_DESCRIPTORS);
	assert_int_equal(f->error, -EBADF);
	assert_int_equal(f->failures, 2);
	program_close(&program);
}

/* WK-11 */
static void its_environment_is_ours_with_what_was_added(void **state)
{
	static const char *const env[] = {"USHER_A=new", "USHER_C=1", "USHER_C=2", NULL};
	struct fixture *f = *state;

	setenv("USHER_A", "old", 1);
	setenv("USHER_B", "kept", 1);
	setenv("USHER_CHANNEL", "77", 1);
	f->env = env;
	spawn(f, "env | grep -E '^USHER_(A|B|C|CHANNEL)=' | sort >$output");
	run(f);
	unsetenv("USHER_A");
	unsetenv("USHER_B");
	unsetenv("USHER_CHANNEL");
	expect_output(f, "USHER_A=new\nUSHER_B=kept\nUSHER_C=2\nUSHER_CHANNEL=3\n");
}

/* Each takes a number that another one has. */
static void its_streams_may_be_ours_in_another_order(void **state)
{
	static const char *const args[] = {"sh", "-c", "echo out; echo err >&2; cat", NULL};
	struct fixture *f = *state;
	struct program program;
	int file = open(f->output, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);

	assert_true(file > 2);
	assert_int_equal(program_open("/bin/sh", &program), 0);
	program.args = args;
	program.has_stdio = true;
	program.stdio[0] = -1;
	program.stdio[1] = program.stdio[2] = file;
	assert_int_equal(process_spawn(&f->process, &program), 0);
	program_close(&program);
	run(f);
	close(file);
	assert_int_equal(f->status, 0);
	expect_output(f, "out\nerr\n");
}

/* WK-11 */
static void it_starts_in_the_given_folder(void **state)
{
	struct fixture *f = *state;

	f->cwd = "/";
	spawn(f, "pwd >$output");
	run(f);
	expect_output(f, "/\n");
}

static void the_open_program_runs_even_when_its_file_was_replaced(void **state)
{
	struct fixture *f = *state;
	struct program program;

	assert_int_equal(program_open("/bin/true", &program), 0);
	program.path = "/bin/false";
	assert_int_equal(process_spawn(&f->process, &program), 0);
	program_close(&program);
	run(f);
	assert_true(WIFEXITED(f->status));
	assert_int_equal(WEXITSTATUS(f->status), 0);
}

/* IP-13, WK-11 */
static void it_holds_its_channel_and_the_standard_streams_alone(void **state)
{
	struct fixture *f = *state;
	int ours = dup(STDERR_FILENO); /* without close-on-exec */

	/* The shell itself reads the script through one more, above 9, that ls does not get. */
	spawn(f, "ls /proc/self/fd | wc -l >$output; readlink /proc/self/fd/3 | cut -d: -f1 "
		 ">>$output; echo $USHER_CHANNEL >>$output");
	run(f);
	close(ours);
	/* 0, 1, 2, 3 and the one that ls reads the folder with */
	expect_output(f, "5\nsocket\n3\n");
}

/* A connection that was closed here would be open there. */
static void what_is_closed_after_its_start_is_closed(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	char byte;

	f->cwd = "/";
	for (slow_at = BEGINNING; slow_at <= GOING_ON; slow_at++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		spawn(f, "exit 0");
		close(pair[0]);
		assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
		close(pair[1]);
		run(f);
		assert_int_equal(f->status, 0);
	}
	slow_at = NOTHING;
}

/* Who waits for those would wait for ever, and who waits for each of many for long. */
static void those_that_never_begin_hold_up_nobody(void **state)
{
	struct fixture *f = *state;
	struct program program;
	struct process another;

	process_init(&another, f->loop, &ops, f);
	assert_int_equal(program_open("/bin/true", &program), 0);
	slow_at = EVER_BEGINNING;
	assert_int_equal(process_spawn(&f->process, &program), 0);
	polls = 0;
	assert_int_equal(process_spawn(&another, &program), 0);
	assert_int_equal(polls, 0);
	slow_at = NOTHING;
	program_close(&program);
	process_kill(&f->process);
	process_kill(&another);
	while (f->exits < 2)
		run(f);
}

/* Above 31 are the C library's own and those of programs that use real-time signals: whoever starts
 * the tests may block the former, and no program can change that by sigprocmask(). */
#define STANDARD_SIGNALS 0x7fffffffull

static void it_ignores_no_signal_and_blocks_none(void **state)
{
	struct fixture *f = *state;
	unsigned long long ignored, blocked;
	char text[128];

	signal(SIGPIPE, SIG_IGN);
	spawn(f, "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2 >$output");
	run(f);
	signal(SIGPIPE, SIG_DFL);
	read_output(f, text, sizeof(text));
	assert_int_equal(sscanf(text, "%llx %llx", &blocked, &ignored), 2);
	assert_int_equal(blocked & STANDARD_SIGNALS, 0);
	assert_int_equal(ignored & STANDARD_SIGNALS, 0);
}

static void it_can_gain_no_privileges(void **state)
{
	struct fixture *f = *state;

	spawn(f, "grep NoNewPrivs /proc/self/status | cut -f2 >$output");
	run(f);
	expect_output(f, "1\n");
}

/* WK-11 */
static void it_runs_as_the_given_user_without_our_groups_and_powers(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0) {
		print_message("skipped: only root can become another user\n");
		skip();
	}
	assert_int_equal(chown(f->folder, NOBODY, NOBODY), 0);
	f->user = "nobody";
	spawn(f, "{ id -u; id -g; id -G; grep CapEff /proc/self/status | cut -f2; } >$output");
	run(f);
	expect_output(f, "65534\n65534\n65534\n0000000000000000\n");
}

/* WK-2: its end is told when it is reaped, whatever became of the channel. */
static void closing_the_channel_is_told_before_the_end(void **state)
{
	struct fixture *f = *state;

	spawn(f, "exec 3>&-; read line </dev/null; exit 0");
	run(f);
	assert_int_equal(f->lost + f->exits, f->lost ? 2 : 1);
}

static bool is_dead(void *ctx)
{
	return kernel_process_state(*(pid_t *)ctx) == 'Z';
}

/* More than one wake-up receives, and the signal of the end is there as well. */
static void its_last_words_are_heard_before_its_end(void **state)
{
	struct fixture *f = *state;

	spawn(f, "for i in $(seq 150); do\n"
		 "printf '\\001\\000\\000\\000\\003\\000\\000\\000' >&3\n"
		 "done");
	assert_true(poll_until(is_dead, &f->process.pid, WAIT_MS));
	run(f);
	assert_int_equal(f->heard_at_exit, 150);
	assert_int_equal(f->heard, 150);
	assert_int_equal(f->lost, 1);
}

static void killing_it_is_told_as_its_end(void **state)
{
	struct fixture *f = *state;

	spawn(f, "kill -STOP $$");
	process_kill(&f->process);
	run(f);
	assert_true(WIFSIGNALED(f->status));
	assert_int_equal(WTERMSIG(f->status), SIGKILL);
	assert_int_equal(f->lost, 1);
}

static void a_deadline_replaces_the_one_before(void **state)
{
	struct fixture *f = *state;

	process_set_deadline(&f->process, WAIT_MS);
	process_set_deadline(&f->process, 10);
	run(f);
	assert_int_equal(f->deadlines, 1);

	process_set_deadline(&f->process, 10);
	process_set_deadline(&f->process, 0);
	run(f); /* nothing is left to wait for */
	assert_int_equal(f->deadlines, 1);
}

static bool has_spoken(void *ctx)
{
	struct fixture *f = ctx;

	return wait_readable(f->process.channel.fd, 0);
}

/* We may have been busy, or stopped, and not have read it. */
static void what_it_said_in_time_comes_before_the_deadline(void **state)
{
	struct fixture *f = *state;

	f->is_in_time = true;
	process_set_deadline(&f->process, 1);
	spawn(f, "printf '\\001\\000\\000\\000\\003\\000\\000\\000' >&3");
	assert_true(poll_until(has_spoken, f, WAIT_MS));
	stay_busy(2);
	run(f);
	assert_int_equal(f->heard, 1);
	assert_int_equal(f->exits, 1);
	assert_int_equal(f->deadlines, 0);
}

static void messages_cannot_be_sent_without_a_process(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(process_send(&f->process, IPC_START, NULL, NULL, 0, NULL), -EPIPE);
}

static void a_process_outlives_its_close(void **state)
{
	struct fixture *f = *state;
	int status;

	spawn(f, "exec cat <&3");
	pid_t pid = f->process.pid;
	process_close(&f->process);
	/* It ends by itself, for its channel has. */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(its_exit_status_is_told_once),
		TEST(what_cannot_be_executed_is_refused),
		TEST(a_program_that_vanished_is_told_before_its_end),
		TEST(a_failure_that_makes_no_sense_is_a_loss),
		TEST(what_cannot_be_set_up_names_the_step),
		TEST(its_environment_is_ours_with_what_was_added),
		TEST(its_streams_may_be_ours_in_another_order),
		TEST(it_starts_in_the_given_folder),
		TEST(the_open_program_runs_even_when_its_file_was_replaced),
		TEST(it_holds_its_channel_and_the_standard_streams_alone),
		TEST(what_is_closed_after_its_start_is_closed),
		TEST(those_that_never_begin_hold_up_nobody),
		TEST(it_ignores_no_signal_and_blocks_none),
		TEST(it_can_gain_no_privileges),
		TEST(it_runs_as_the_given_user_without_our_groups_and_powers),
		TEST(closing_the_channel_is_told_before_the_end),
		TEST(its_last_words_are_heard_before_its_end),
		TEST(killing_it_is_told_as_its_end),
		TEST(a_deadline_replaces_the_one_before),
		TEST(what_it_said_in_time_comes_before_the_deadline),
		TEST(messages_cannot_be_sent_without_a_process),
		TEST(a_process_outlives_its_close),
	};

	pthread_atfork(NULL, NULL, on_fork);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
