#include "tests/helpers/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/process.h"
#include "tests/helpers/wait.h"

static long count_lines(const char *text, const char *containing)
{
	long lines = 0;

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *found = containing ? strstr(line, containing) : line;

		if (found && found < end)
			lines++;
		line = *end ? end + 1 : end;
	}
	return lines;
}

static long tcp_sockets(const char *state, int port, const char *peers)
{
	char filter[64];
	const char *const argv[] = {"/bin/ss", "-Htn", "state", state, filter, NULL};
	AUTO_FREE char *out = NULL;

	snprintf(filter, sizeof(filter), "sport = :%d and dport %s :%d", port, peers, port);
	assert_int_equal(process_run(&(struct process_options){.argv = argv}, &out, NULL), 0);
	return count_lines(out, NULL);
}

/* A client that comes from another address may happen to have the same port: then both ends of its
 * connection are found, each once. */
long kernel_tcp_connections(int port)
{
	return tcp_sockets("established", port, "!=") + tcp_sockets("established", port, "=") / 2;
}

long kernel_tcp_listeners(int port)
{
	return tcp_sockets("listening", port, "!=");
}

struct awaited_queue {
	int fd;
	unsigned count;
};

/* Of a socket that listens, tcpi_unacked is the length of its queue. */
static bool is_queued(void *ctx)
{
	const struct awaited_queue *awaited = ctx;
	struct tcp_info info;
	socklen_t size = sizeof(info);

	assert_int_equal(getsockopt(awaited->fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
	return info.tcpi_unacked == awaited->count;
}

void kernel_await_queue(int fd, unsigned count)
{
	struct awaited_queue awaited = {fd, count};

	assert_true(poll_until(is_queued, &awaited, WAIT_MS));
}

long kernel_unix_connections(const char *path)
{
	const char *const argv[] = {"/bin/ss", "-Hx", "state", "established", NULL};
	AUTO_FREE char *out = NULL;
	char column[160];

	snprintf(column, sizeof(column), " %s ", path);
	assert_int_equal(process_run(&(struct process_options){.argv = argv}, &out, NULL), 0);
	return count_lines(out, column);
}

static bool has_no_listener(void *ctx)
{
	return kernel_tcp_listeners(*(int *)ctx) == 0;
}

void kernel_await_no_listener(int port)
{
	assert_true(poll_until(has_no_listener, &port, WAIT_MS));
}

char kernel_process_state(pid_t pid)
{
	char path[64], line[512], state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	const char *after_name = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	if (after_name && after_name[1] == ' ')
		state = after_name[2];
	fclose(file);
	return state;
}

static bool is_wait_for_events(long call)
{
#ifdef SYS_epoll_wait
	if (call == SYS_epoll_wait)
		return true;
#endif
	return call == SYS_epoll_pwait;
}

bool kernel_waits_for_events(pid_t pid)
{
	char path[64];
	bool waits, knows;
	long call;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return kernel_process_state(pid) == 'S';
	waits = fscanf(file, "%ld", &call) == 1 && is_wait_for_events(call);
	knows = !ferror(file);
	fclose(file);
	return knows ? waits : kernel_process_state(pid) == 'S';
}

long kernel_cpu_ms(pid_t pid)
{
	char path[64], line[512];
	unsigned long user = 0, system = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	const char *after_name = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	assert_non_null(after_name);
	assert_int_equal(sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
				&user, &system),
			 2);
	return (long)((user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

void kernel_await_end(pid_t pid)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	assert_true(pidfd >= 0);
	assert_true(wait_readable(pidfd, WAIT_MS));
}

void kernel_kill(pid_t pid)
{
	AUTO_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd == -1 && errno == ESRCH)
		return;
	assert_true(pidfd >= 0);
	assert_true(syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH);
	assert_true(wait_readable(pidfd, WAIT_MS));
}

static bool has_stopped(void *ctx)
{
	return kernel_process_state(*(pid_t *)ctx) == 'T';
}

void kernel_stop(pid_t pid)
{
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_true(poll_until(has_stopped, &pid, WAIT_MS));
}

void kernel_resume(pid_t pid)
{
	assert_int_equal(kill(pid, SIGCONT), 0);
}

int kernel_fd_count(pid_t pid)
{
	char path[64];
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *folder = opendir(path);
	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_name[0] != '.')
			count++;
	closedir(folder);
	return count;
}

/* "tfd:", the descriptor, and "events:" with the flags in hex. */
static bool is_watched_with(const char *line, unsigned int flags)
{
	unsigned int events;

	return sscanf(line, "tfd: %*d events: %x", &events) == 1 && (events & flags) == flags;
}

/* Those with all of these flags. */
static size_t count_watched(pid_t pid, unsigned int flags)
{
	char path[64], line[256];
	size_t count = 0;

	for (int fd = 0; fd < 1000; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
		FILE *file = fopen(path, "re");

		while (file && fgets(line, sizeof(line), file))
			count += is_watched_with(line, flags);
		if (file)
			fclose(file);
	}
	return count;
}

size_t kernel_watched_fds(pid_t pid)
{
	return count_watched(pid, 0);
}

size_t kernel_exclusive_fds(pid_t pid)
{
	return count_watched(pid, EPOLLEXCLUSIVE);
}

size_t kernel_children(pid_t pid, pid_t *pids, size_t max)
{
	char path[64];
	size_t count = 0;
	int child;

	pid = pid ? pid : getpid();
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	while (fscanf(file, "%d", &child) == 1) {
		if (count < max)
			pids[count] = child;
		count++;
	}
	fclose(file);
	return count;
}
