#include "tests/helpers/fds.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"

size_t open_fd_count(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	if (!directory)
		abort();
	while (readdir(directory))
		count++;
	closedir(directory);
	return count - 3; /* ".", ".." and the folder's own */
}

static bool has_no_more(void *ctx)
{
	return open_fd_count() <= *(size_t *)ctx;
}

bool await_fd_count(size_t count)
{
	return poll_until(has_no_more, &count, WAIT_MS);
}

bool allow_fds(size_t count)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		abort();
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		abort();
	return limit.rlim_max >= count;
}

/* The limit under which just so many descriptors more can be opened: it is on their number, and the
 * lowest free number is always taken. */
static rlim_t limit_for(size_t more)
{
	int limit = 0;

	for (size_t i = 0; i < more; i++) {
		int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, limit);

		if (fd == -1)
			abort();
		close(fd);
		limit = fd + 1;
	}
	return (rlim_t)limit;
}

/* The child's side: tells the limit it needs, waits until it has it, works. */
static int child(int parent, size_t more, fds_child_fn *body, void *arg)
{
	rlim_t limit = limit_for(more);
	char byte;

	if (write(parent, &limit, sizeof(limit)) != sizeof(limit) || read(parent, &byte, 1) != 1)
		return 127;
	return body(arg);
}

int run_with_fd_limit(size_t more, fds_child_fn *body, void *arg)
{
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	struct rlimit limit;
	int pair[2], status;
	char byte = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1 ||
	    getrlimit(RLIMIT_NOFILE, &limit) == -1)
		abort();
	ours = pair[0];
	theirs = pair[1];

	pid_t pid = fork();
	if (pid == -1)
		abort();
	if (pid == 0) {
		close_fd(take_fd(&ours));
		_exit(child(theirs, more, body, arg));
	}
	close_fd(take_fd(&theirs));

	/* From outside, since valgrind only pretends when a process lowers its own; and not before
	 * the child runs, for valgrind opens descriptors of its own in a new process. */
	if (read(ours, &limit.rlim_cur, sizeof(limit.rlim_cur)) != sizeof(limit.rlim_cur) ||
	    prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == -1 || write(ours, &byte, 1) != 1)
		abort();
	if (waitpid(pid, &status, 0) != pid)
		abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
