/* usher-load tells the truth: its counts are those of the server and of the kernel, wrong bytes and
 * lost connections are noticed, and it ends when it said it would. */
#include <jansson.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/load.h"
#include "tests/helpers/process.h"
#include "tests/helpers/wait.h"

static int start_any(void **state)
{
	struct bare_server *s = calloc(1, sizeof(*s));

	bare_server_start(s, "limit_echo", "--accept", "shared-even", NULL);
	*state = s;
	return 0;
}

static int stop(void **state)
{
	struct bare_server *s = *state;

	bare_server_done(s);
	free(s);
	return 0;
}

/* --- counts --------------------------------------------------------------------------------- */

static void echo_counts_what_the_server_counts(void **state)
{
	struct bare_server *s = *state;
	json_t *report;

	assert_int_equal(
		load_run(&report, "-c", "8", "-p", "2", "-d", "1", "-v", "echo", s->target, NULL),
		0);
	assert_true(load_figure(report, "result", "operations") > 0);
	assert_int_equal(load_figure(report, "total", "connections"), 8);
	assert_int_equal(bare_server_counted(s, "bytes"),
			 64 * load_figure(report, "total", "operations"));
	json_decref(report);
}

static void pipelined_messages_are_all_counted(void **state)
{
	struct bare_server *s = *state;
	json_t *report;

	assert_int_equal(load_run(&report, "-c", "3", "-P", "16", "-s", "1000", "-d", "0.2", "-v",
				  "echo", s->target, NULL),
			 0);
	assert_int_equal(bare_server_counted(s, "bytes"),
			 1000 * load_figure(report, "total", "operations"));
	json_decref(report);
}

static void churn_counts_what_the_server_counts(void **state)
{
	struct bare_server *s = *state;
	json_t *report;
	json_int_t connections;

	assert_int_equal(load_run(&report, "-c", "4", "-d", "0.2", "-v", "churn", s->target, NULL),
			 0);
	connections = load_figure(report, "total", "connections");
	assert_true(connections > 0);
	assert_int_equal(load_figure(report, "total", "operations"), connections);
	assert_int_equal(bare_server_counted(s, "connections"), connections);
	json_decref(report);
}

static void streams_come_back_whole(void **state)
{
	struct bare_server *s = *state;
	json_t *report;

	assert_int_equal(load_run(&report, "-c", "2", "-d", "0.2", "-v", "stream", s->target, NULL),
			 0);
	assert_true(load_figure(report, "total", "operations") > 0);
	assert_int_equal(load_figure(report, "failures", "unanswered"), 0);
	json_decref(report);
}

/* Nothing of a load that was begun at began_ms was done before it was due. */
static void expect_none_too_early(json_int_t operations, double rate, int64_t began_ms)
{
	assert_true(operations > 0);
	assert_true((double)operations <= rate * (double)(now_ms() + 1 - began_ms) / 1000 + 1);
}

/* What was due is done or said to be behind, however long the machine has stalled. */
static void expect_none_left_out(const json_t *report, double rate)
{
	double seconds = json_number_value(json_object_get(report, "seconds"));
	json_int_t behind = json_integer_value(json_object_get(report, "behind"));

	assert_true((double)(load_figure(report, "total", "operations") + behind) >=
		    rate * seconds - 1);
}

/* However fast the server is. */
static void paced_load_keeps_its_rate(void **state)
{
	struct bare_server *s = *state;
	int64_t began_ms = now_ms();
	json_t *report;

	assert_int_equal(load_run(&report, "-c", "4", "-r", "1000", "-d", "0.4", "-v", "paced",
				  s->target, NULL),
			 0);
	expect_none_too_early(load_figure(report, "total", "operations"), 1000, began_ms);
	expect_none_left_out(report, 1000);
	assert_int_equal(bare_server_counted(s, "bytes"),
			 64 * load_figure(report, "total", "operations"));
	json_decref(report);
}

static void mixed_load_reports_both_kinds(void **state)
{
	struct bare_server *s = *state;
	int64_t began_ms = now_ms();
	json_int_t operations, short_ones;
	json_t *report;

	assert_int_equal(load_run(&report, "-c", "4", "-r", "500", "--churn-rate", "250", "-d", "1",
				  "mixed", s->target, NULL),
			 0);
	operations = load_figure(report, "total", "operations");
	short_ones = load_figure(report, "total", "connections") - 4;
	expect_none_too_early(operations - short_ones, 500, began_ms);
	expect_none_too_early(short_ones, 250, began_ms);
	assert_true(load_figure(report, "result", "operations") > 0);
	assert_true(load_figure(report, "churn", "operations") > 0);
	json_decref(report);
}

static void idle_connections_are_open_and_their_memory_is_known(void **state)
{
	struct bare_server *s = *state;
	json_t *report;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)s->process.pid);
	assert_int_equal(
		load_run(&report, "-c", "200", "-d", "0.05", "-S", pid, "idle", s->target, NULL),
		0);
	assert_int_equal(load_figure(report, "total", "connections"), 200);
	assert_int_equal(load_figure(report, "server", "processes"), 3);
	assert_true(load_figure(report, "server", "pss_before") > 0);
	assert_int_equal(bare_server_counted(s, "connections"), 200);
	json_decref(report);
}

/* The last of 20 is due after 19 hundredths of a second; nothing can be there earlier. */
static void connections_are_opened_at_the_rate_that_is_asked_for(void **state)
{
	static const char *const modes[] = {"echo", "stream", "idle"};
	struct bare_server *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		json_t *report;

		assert_int_equal(load_run(&report, "-c", "20", "--open-rate", "100", "-d", "0.05",
					  "--warmup", "0", modes[i], s->target, NULL),
				 0);
		assert_int_equal(load_figure(report, "total", "connections"), 20);
		assert_true(json_real_value(json_object_get(report, "open_seconds")) >= 0.19);
		json_decref(report);
	}
}

/* The master of this one hands its connections to two workers by turns and keeps none. */
static void connections_of_each_server_process_are_counted(void **state)
{
	struct bare_server s = {0};
	json_t *report, *spread;
	char pid[16];

	bare_server_start(&s, "limit_echo", "--accept", "pass", NULL);
	snprintf(pid, sizeof(pid), "%d", (int)s.process.pid);
	assert_int_equal(
		load_run(&report, "-c", "50", "-d", "1", "-S", pid, "idle", s.target, NULL), 0);
	spread = json_object_get(json_object_get(report, "server"), "spread");
	assert_int_equal(json_array_size(spread), 3);
	assert_int_equal(json_integer_value(json_array_get(spread, 0)), 25);
	assert_int_equal(json_integer_value(json_array_get(spread, 1)), 25);
	assert_int_equal(json_integer_value(json_array_get(spread, 2)), 0);
	json_decref(report);
	bare_server_done(&s);
}

/* In half of the measured time. And one that does not end is killed. */
static void command_midway_runs_once_and_in_time(void **state)
{
	struct bare_server *s = *state;
	char file[] = "/tmp/usher-load-XXXXXX", command[128];
	json_t *report;
	char text[16] = "";
	int fd = mkstemp(file);

	snprintf(command, sizeof(command), "echo once >>%s; exit 7", file);
	assert_int_equal(load_run(&report, "-d", "4", "--midway", command, "echo", s->target, NULL),
			 0);
	assert_int_equal(load_figure(report, "midway", "status"), 7);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "once\n");
	close(fd);
	unlink(file);
	json_decref(report);

	assert_int_equal(load_run(&report, "-d", "0.1", "--midway", "exec tail -f /dev/null",
				  "echo", s->target, NULL),
			 0);
	assert_int_equal(load_figure(report, "midway", "status"), 128 + SIGKILL);
	json_decref(report);
}

__attribute__((noreturn)) static void be_family(bool first_burns, bool second_burns, int fd)
{
	for (int i = 0;; i++) {
		pid_t child = fork();

		alarm(WAIT_MS / 1000);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (child == 0 && (i == 0 ? first_burns : second_burns))
			;
		if (child == 0 || i > 0)
			pause();
		if (write(fd, &child, sizeof(child)) != sizeof(child) ||
		    waitpid(child, NULL, 0) != child)
			_exit(1);
	}
}

/* A server of which usher-load only sees the processor time: a child, which is to be killed, and
 * then another one. */
static pid_t start_family(bool first_burns, bool second_burns, pid_t *ret_first)
{
	int pipe_fds[2];
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0)
		be_family(first_burns, second_burns, pipe_fds[1]);
	assert_true(pid > 0);
	assert_int_equal(read(pipe_fds[0], ret_first, sizeof(*ret_first)), sizeof(*ret_first));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return pid;
}

static double cpu_seconds_of_family(const char *target, bool first_burns, bool second_burns)
{
	char pid[16], command[32];
	pid_t first, root = start_family(first_burns, second_burns, &first);
	double seconds;
	json_t *report;

	snprintf(pid, sizeof(pid), "%d", (int)root);
	snprintf(command, sizeof(command), "kill -9 %d", (int)first);
	assert_int_equal(load_run(&report, "-d", "4", "--midway", command, "-S", pid, "-r", "100",
				  "paced", target, NULL),
			 0);
	assert_int_equal(load_figure(report, "midway", "status"), 0);
	seconds = json_number_value(
		json_object_get(json_object_get(report, "server"), "cpu_seconds"));
	json_decref(report);
	kill(root, SIGKILL);
	assert_int_equal(waitpid(root, NULL, 0), root);
	return seconds;
}

static void processes_that_end_or_begin_midway_count(void **state)
{
	struct bare_server *s = *state;

	assert_true(cpu_seconds_of_family(s->target, true, false) > 0.01);
	assert_true(cpu_seconds_of_family(s->target, false, true) > 0.01);
}

static void upstream_is_no_server_and_must_be_there(void **state)
{
	struct bare_server *s = *state;
	json_t *report;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)s->process.pid);
	assert_int_equal(
		load_run(&report, "-d", "0.1", "--upstream-pid", pid, "echo", s->target, NULL), 0);
	assert_true(json_is_null(json_object_get(report, "server")));
	json_decref(report);

	/* Above the kernel's largest. */
	assert_int_equal(load_run(&report, "--upstream-pid", "5000000", "echo", s->target, NULL),
			 EX_NOINPUT);
}

/* An independent judge: the calls that strace(1) saw. */
static void connects_are_those_that_strace_counts(void **state)
{
	struct bare_server *s = *state;
	char summary[] = "/tmp/usher-load-XXXXXX";
	char path[PATH_MAX];
	int fd = mkstemp(summary);
	const char *argv[] = {"/usr/bin/strace",
			      "-f",
			      "-c",
			      "-U",
			      "calls,name",
			      "-e",
			      "trace=connect",
			      "-o",
			      summary,
			      built("usher-load", path),
			      "--json",
			      "-d",
			      "0.1",
			      "churn",
			      s->target,
			      NULL};
	char *out, text[4096] = "";
	const char *row;
	json_t *report;

	if (access(argv[0], X_OK) == -1) {
		close(fd);
		unlink(summary);
		skip();
	}
	/* LeakSanitizer cannot look at a process that is traced already. */
	assert_int_equal(
		process_run(
			&(struct process_options){
				.argv = argv,
				.env = (const char *const[]){"ASAN_OPTIONS=detect_leaks=0", NULL}},
			&out, NULL),
		0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	unlink(summary);

	report = json_loads(out, 0, NULL);
	row = strstr(text, " connect\n");
	assert_non_null(row);
	while (row > text && row[-1] != '\n')
		row--;
	assert_int_equal(strtol(row, NULL, 10), load_figure(report, "total", "connections"));
	json_decref(report);
	free(out);
}

/* --- other sockets -------------------------------------------------------------------------- */

static void ipv6_is_loaded_too(void **state)
{
	struct bare_server s = {0};
	json_t *report;

	bare_server_start(&s, "limit_echo", "--host", "::1", NULL);
	assert_int_equal(load_run(&report, "-c", "2", "-d", "0.1", "-v", "echo", s.target, NULL),
			 0);
	assert_int_equal(bare_server_counted(&s, "bytes"),
			 64 * load_figure(report, "total", "operations"));
	json_decref(report);
	bare_server_done(&s);
}

static void unix_paths_are_loaded_too(void **state)
{
	char folder[] = "/tmp/usher-load-XXXXXX", path[64];
	struct bare_server s = {0};
	json_t *report;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	bare_server_start(&s, "limit_echo", "--path", path, NULL);
	assert_int_equal(load_run(&report, "-c", "2", "-d", "0.1", "-v", "churn", s.target, NULL),
			 0);
	assert_int_equal(bare_server_counted(&s, "connections"),
			 load_figure(report, "total", "connections"));
	json_decref(report);
	bare_server_done(&s);
	assert_int_equal(rmdir(folder), 0);
}

/* --- bad servers ---------------------------------------------------------------------------- */

/* What a server does with its only connection. */
typedef void service_fn(int fd);

static pid_t start_bad_server(service_fn *service, char target[32])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	AUTO_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	snprintf(target, 32, "127.0.0.1:%d", ntohs(address.sin_port));

	pid = fork();
	if (pid == 0) {
		alarm(WAIT_MS / 1000);
		service(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static void change_one_byte(int fd)
{
	char bytes[64];
	ssize_t n;

	for (int message = 0; (n = recv(fd, bytes, sizeof(bytes), MSG_WAITALL)) > 0; message++) {
		if (message == 10)
			bytes[n - 1] ^= 1;
		if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
			return;
	}
}

static void say_too_much(int fd)
{
	char bytes[65] = "";

	while (recv(fd, bytes, 64, MSG_WAITALL) == 64) {
		if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != sizeof(bytes))
			return;
	}
}

static void close_early(int fd)
{
	char byte;

	if (recv(fd, &byte, 1, 0) == 1)
		close(fd);
}

static void say_nothing(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) == 1)
		;
}

static void expect_failure(service_fn *service, const char *kind, int status)
{
	char target[32];
	pid_t pid = start_bad_server(service, target);
	json_t *report;

	assert_int_equal(load_run(&report, "-d", "0.2", "-v", "echo", target, NULL), status);
	assert_int_equal(load_figure(report, "failures", kind), 1);
	assert_string_not_equal(
		json_string_value(json_object_get(json_object_get(report, "failures"), "first")),
		"");
	json_decref(report);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void one_changed_byte_is_noticed(void **state)
{
	expect_failure(change_one_byte, "bytes", EX_DATAERR);
}

static void surplus_bytes_are_noticed(void **state)
{
	expect_failure(say_too_much, "bytes", EX_DATAERR);
}

static void connection_closed_by_the_server_is_a_failure(void **state)
{
	expect_failure(close_early, "connection", EX_PROTOCOL);
}

static void missing_answer_is_a_failure_and_not_a_hang(void **state)
{
	expect_failure(say_nothing, "unanswered", EX_PROTOCOL);
}

#define SLOW_ANSWERS 12

/* Slower than any machine: all that is under way takes longer than one answer may. */
static void answer_slowly(int fd)
{
	char bytes[64];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_WAITALL)) > 0) {
		poll(NULL, 0, 6000 / SLOW_ANSWERS);
		if (send(fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
			return;
	}
}

static void answers_are_waited_for_as_long_as_some_come(void **state)
{
	char target[32], pipeline[16];
	pid_t pid = start_bad_server(answer_slowly, target);
	json_t *report;

	snprintf(pipeline, sizeof(pipeline), "%d", SLOW_ANSWERS);
	assert_int_equal(load_run(&report, "-d", "0.1", "-v", "-P", pipeline, "echo", target, NULL),
			 0);
	assert_int_equal(load_figure(report, "failures", "unanswered"), 0);
	assert_in_range(load_figure(report, "total", "operations"), SLOW_ANSWERS, SIZE_MAX);
	json_decref(report);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void refused_target_is_unavailable(void **state)
{
	char target[32];
	pid_t pid = start_bad_server(close_early, target);
	json_t *report;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(load_run(&report, "-d", "0.1", "echo", target, NULL), EX_UNAVAILABLE);
	assert_null(report);
}

static void wrong_command_lines_are_usage_errors(void **state)
{
	json_t *report;

	assert_int_equal(load_run(&report, NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "echo", "127.0.0.1", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "echo", "127.0.0.1:0", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "echo", "localhost:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "sing", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "paced", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "-c", "0", "echo", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "-d", "ten", "echo", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "-P", "2", "churn", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "--sources", "2", "echo", "/run/x", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "-r", "9", "idle", "127.0.0.1:80", NULL), EX_USAGE);
	assert_int_equal(load_run(&report, "--open-rate", "9", "churn", "127.0.0.1:80", NULL),
			 EX_USAGE);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start_any, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(echo_counts_what_the_server_counts),
		WITH_SERVER(pipelined_messages_are_all_counted),
		WITH_SERVER(churn_counts_what_the_server_counts),
		WITH_SERVER(streams_come_back_whole),
		WITH_SERVER(paced_load_keeps_its_rate),
		WITH_SERVER(mixed_load_reports_both_kinds),
		WITH_SERVER(idle_connections_are_open_and_their_memory_is_known),
		WITH_SERVER(connections_are_opened_at_the_rate_that_is_asked_for),
		cmocka_unit_test(connections_of_each_server_process_are_counted),
		WITH_SERVER(command_midway_runs_once_and_in_time),
		WITH_SERVER(processes_that_end_or_begin_midway_count),
		WITH_SERVER(upstream_is_no_server_and_must_be_there),
		WITH_SERVER(connects_are_those_that_strace_counts),
		cmocka_unit_test(ipv6_is_loaded_too),
		cmocka_unit_test(unix_paths_are_loaded_too),
		cmocka_unit_test(one_changed_byte_is_noticed),
		cmocka_unit_test(surplus_bytes_are_noticed),
		cmocka_unit_test(connection_closed_by_the_server_is_a_failure),
		cmocka_unit_test(missing_answer_is_a_failure_and_not_a_hang),
		cmocka_unit_test(answers_are_waited_for_as_long_as_some_come),
		cmocka_unit_test(refused_target_is_unavailable),
		cmocka_unit_test(wrong_command_lines_are_usage_errors),
	};

	watchdog(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
