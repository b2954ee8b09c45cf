#include "worker/wakeup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "common/macros.h"

/* How a descriptor stands in the set of the loop. */
struct mark {
	bool marked;
	int set; /* -1: in none */
	struct epoll_event event;
};

/* By descriptor, since every change of any set comes by here. */
static struct mark *marks;
static int n_marks;

static struct mark *find(int fd)
{
	return fd >= 0 && fd < n_marks && marks[fd].marked ? &marks[fd] : NULL;
}

static int kernel_epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
	return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

static int add_exclusive(int fd, int set, const struct epoll_event *event)
{
	struct epoll_event exclusive = *event;

	exclusive.events |= EPOLLEXCLUSIVE;
	if (kernel_epoll_ctl(set, EPOLL_CTL_ADD, fd, &exclusive) == -1)
		return -1;
	marks[fd].set = set;
	marks[fd].event = exclusive;
	return 0;
}

/* Stands before the C library's in this program, for libev too. */
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
__attribute__((visibility("default"))) int epoll_ctl(int set, int operation, int fd,
						     struct epoll_event *event)
{
	struct mark *mark = find(fd);

	if (!mark)
		return kernel_epoll_ctl(set, operation, fd, event);
	if (operation == EPOLL_CTL_ADD)
		return add_exclusive(fd, set, event);
	if (operation == EPOLL_CTL_DEL)
		mark->set = -1;
	return kernel_epoll_ctl(set, operation, fd, event);
}

void wakeup_mark(int fd)
{
	if (fd >= n_marks) {
		struct mark *more = reallocarray(marks, (size_t)fd + 1, sizeof(*marks));

		if (!more)
			return;
		memset(more + n_marks, 0, (size_t)(fd + 1 - n_marks) * sizeof(*marks));
		marks = more;
		n_marks = fd + 1;
	}
	marks[fd] = (struct mark){.marked = true, .set = -1};
}

void wakeup_leave(int fd)
{
	struct mark *mark = find(fd);

	if (!mark || mark->set == -1)
		return;
	kernel_epoll_ctl(mark->set, EPOLL_CTL_DEL, fd, NULL);
	mark->set = -1;
}

void wakeup_unmark(int fd)
{
	struct mark *mark = find(fd);

	if (!mark)
		return;
	/* Others have the socket, so that closing it would leave it in the set: there it would go
	 * on to be woken in the place of somebody who accepts. libev relies on the close. */
	wakeup_leave(fd);
	mark->marked = false;
}

void wakeup_requeue(int fd)
{
	struct mark *mark = find(fd);

	if (!mark || mark->set == -1)
		return;
	/* Where the kernel had no room for its return the last time, it is not there. */
	if (kernel_epoll_ctl(mark->set, EPOLL_CTL_DEL, fd, NULL) == -1 && errno != ENOENT)
		mark->set = -1;
	else
		kernel_epoll_ctl(mark->set, EPOLL_CTL_ADD, fd, &mark->event);
}
