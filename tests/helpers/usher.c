#include "tests/helpers/usher.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define NOTIFY_SIZE 4096

/* Of the processor: what may be used while nothing happens. */
#define IDLE_PERCENT 5

/* Of a listening socket, in /proc/net/unix. */
#define ACCEPTS 0x10000

const char *usher_path(const struct usher *u, const char *name)
{
	static char paths[USHER_PATHS][100]; /* each fits sun_path */
	static unsigned int next;
	char *path = paths[next++ % USHER_PATHS];

	assert_true(snprintf(path, sizeof(paths[0]), "%s/%s", u->folder, name) <
		    (int)sizeof(paths[0]));
	return path;
}

static int open_notify_socket(const struct usher *u)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, usher_path(u, "notify"));
	if (fd == -1 || bind(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
	    chmod(address.sun_path, 0777) == -1) {
		close_fd(fd);
		return -1;
	}
	return fd;
}

int usher_setup(void **state)
{
	struct usher *u = calloc(1, sizeof(*u));

	if (!u)
		return -1;
	*state = u;
	u->own_fds = open_fd_count();
	u->daemon_fds = -1;

	/* Workers that outlive usherd become children of the test, so none goes unseen. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	strcpy(u->folder, "/tmp/usher-test-XXXXXX");
	if (!mkdtemp(u->folder) || chmod(u->folder, 0755) == -1)
		return -1;
	strcpy(u->config, usher_path(u, "usher.yaml"));
	strcpy(u->control, usher_path(u, "control.sock"));
	u->notify = open_notify_socket(u);
	return u->notify == -1 ? -1 : 0;
}

void usher_configure(struct usher *u, const char *format, ...)
{
	FILE *file = fopen(u->config, "we");
	va_list args;

	assert_non_null(file);
	fprintf(file, "control: %s\n", u->control);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
}

/* Copies the words up to a NULL behind the first ones, of which there are used. */
static void append(const char *list[PROCESS_ARGUMENTS_MAX], size_t used, const char *const *words)
{
	for (; words && *words; words++) {
		assert_true(used < PROCESS_ARGUMENTS_MAX - 1);
		list[used++] = *words;
	}
}

void usher_launch(struct usher *u)
{
	char program[PATH_MAX], notify[128];
	const char *argv[PROCESS_ARGUMENTS_MAX] = {
		built(u->program ? u->program : "usherd", program), "-c", u->config};
	const char *env[PROCESS_ARGUMENTS_MAX] = {notify};
	struct process_options options = {.argv = argv,
					  .env = env,
					  .fds = u->fds,
					  .n_fds = u->n_fds,
					  .fd_names = u->fd_names,
					  .uid = u->uid};

	snprintf(notify, sizeof(notify), "NOTIFY_SOCKET=%s", usher_path(u, "notify"));
	append(argv, 3, u->args);
	append(env, 1, u->env);
	process_done(&u->process);
	u->daemon_fds = -1;
	process_start(&u->process, &options);
}

static bool has_line(const char *text, const char *beginning)
{
	size_t size = strlen(beginning);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, beginning, size) == 0)
			return true;
	}
	return false;
}

bool usher_was_told(struct usher *u, const char *line, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	char text[NOTIFY_SIZE];

	while (wait_readable(u->notify, left_ms(deadline))) {
		ssize_t size = recv(u->notify, text, sizeof(text) - 1, 0);

		assert_true(size >= 0);
		text[size] = '\0';
		if (has_line(text, line))
			return true;
	}
	return false;
}

/* Its end of a connection has the path of the control socket as well, and is no listener. */
static bool is_asked(const struct usher *u)
{
	unsigned int flags;
	char line[256], path[128];
	bool found = false;
	FILE *file = fopen("/proc/net/unix", "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %127s", &flags, path) == 2 &&
		    strcmp(path, u->control) == 0 && !(flags & ACCEPTS))
			found = true;
	fclose(file);
	return found;
}

struct fd_question {
	const struct usher *usher;
	int count;
	int looks; /* that have found the same */
};

static bool stays_the_same(void *ctx)
{
	struct fd_question *q = ctx;
	int count = kernel_fd_count(q->usher->process.pid);

	q->looks = count == q->count && !is_asked(q->usher) ? q->looks + 1 : 0;
	q->count = count;
	return q->looks == 3;
}

/* What usherd holds when it has nothing to do: it has answered, so that it is past what it did at
 * READY=1, and has closed what the answer needed. */
static int resting_fd_count(const struct usher *u)
{
	struct fd_question q = {.usher = u};

	json_decref(ask_status(u));
	assert_true(poll_until(stays_the_same, &q, WAIT_MS));
	return q.count;
}

void usher_start(struct usher *u)
{
	usher_launch(u);
	if (!usher_was_told(u, "READY=1", WAIT_MS)) {
		AUTO_FREE char *log = usher_log(u);
		fail_msg("usherd was not ready in time; it logged:\n%s", log);
	}
	u->daemon_fds = resting_fd_count(u);
}

void usher_signal(const struct usher *u, int signal)
{
	assert_true(u->process.pid > 0);
	assert_int_equal(kill(u->process.pid, signal), 0);
}

int usher_ended(struct usher *u)
{
	int code = process_wait(&u->process, WAIT_MS);

	if (code == -1)
		fail_msg("usherd did not end in time");
	return code;
}

char *usher_log(const struct usher *u)
{
	return process_text(u->process.err);
}

struct log_question {
	const struct usher *usher;
	const char *text;
};

static bool is_in_log(void *ctx)
{
	const struct log_question *q = ctx;
	AUTO_FREE char *log = usher_log(q->usher);

	return strstr(log, q->text);
}

bool usher_logs(struct usher *u, const char *text)
{
	struct log_question q = {u, text};

	return poll_until(is_in_log, &q, WAIT_MS);
}

static long used_ms(const struct usher *u, int for_ms)
{
	pid_t pids[USHER_WORKERS_MAX + 1];
	size_t n = kernel_children(u->process.pid, pids, USHER_WORKERS_MAX);
	long before[USHER_WORKERS_MAX + 1], most = 0;

	pids[n++] = u->process.pid;
	for (size_t i = 0; i < n; i++)
		before[i] = kernel_cpu_ms(pids[i]);
	poll(NULL, 0, for_ms);
	for (size_t i = 0; i < n; i++) {
		long used = kernel_cpu_ms(pids[i]) - before[i];

		most = used > most ? used : most;
	}
	return most;
}

struct idle_question {
	const struct usher *usher;
	int for_ms;
};

static bool are_idle(void *ctx)
{
	const struct idle_question *q = ctx;

	return used_ms(q->usher, q->for_ms) <= q->for_ms * IDLE_PERCENT / 100;
}

void usher_expect_idle(const struct usher *u, int for_ms)
{
	struct idle_question q = {u, for_ms};

	if (!poll_until(are_idle, &q, WAIT_MS))
		fail_msg("usherd or a worker is busy while nothing happens");
}

void usher_holds_other_fds(struct usher *u)
{
	u->daemon_fds = -1;
}

static bool holds_fds_of_before(void *ctx)
{
	const struct usher *u = ctx;

	return kernel_fd_count(u->process.pid) == u->daemon_fds;
}

static bool reap_finds_none(void *ctx)
{
	(void)ctx;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return kernel_children(0, NULL, 0) == 0;
}

static int complain(const struct usher *u, const char *what)
{
	AUTO_FREE char *log = u->process.pidfd > 0 ? usher_log(u) : NULL;

	print_error("at the end of the test %s; usherd logged:\n%s\n", what, log ? log : "nothing");
	return -1;
}

/* A failed assertion closes nothing, and usherd waits for a client that is still there. Ours are
 * the notification socket, and pidfd, out and err of the process. */
static bool holds_more_than_ours(const struct usher *u)
{
	return open_fd_count() > u->own_fds + 4;
}

static int stop_and_look(struct usher *u)
{
	if (u->process.pid == 0)
		return 0;
	if (u->daemon_fds != -1 && !poll_until(holds_fds_of_before, u, WAIT_MS))
		return complain(u, "usherd held other descriptors than before");

	kill(u->process.pid, SIGCONT);
	kill(u->process.pid, SIGTERM);
	int code = process_wait(&u->process, WAIT_MS);
	if (code == -1)
		return complain(u, holds_more_than_ours(u)
					   ? "usherd did not stop on SIGTERM, while the test held "
					     "what it had opened, perhaps a client"
					   : "usherd did not stop on SIGTERM");
	if (code != 0)
		return complain(u, "usherd ended with a failure");
	return 0;
}

static int expect_no_children(const struct usher *u)
{
	pid_t left[USHER_WORKERS_MAX];

	if (poll_until(reap_finds_none, NULL, WAIT_MS))
		return 0;
	size_t n = kernel_children(0, left, ARRAY_LEN(left));
	for (size_t i = 0; i < n && i < ARRAY_LEN(left); i++) {
		kill(left[i], SIGKILL);
		waitpid(left[i], NULL, 0);
	}
	return complain(u, "children of usherd were still there");
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

int usher_teardown(void **state)
{
	struct usher *u = *state;

	clients_done(&u->clients);
	int result = stop_and_look(u);
	process_done(&u->process);
	if (expect_no_children(u) == -1)
		result = -1;

	close(u->notify);
	nftw(u->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	if (open_fd_count() != u->own_fds) {
		print_error("at the end of the test it held other descriptors than before\n");
		result = -1;
	}
	free(u);
	return result;
}
