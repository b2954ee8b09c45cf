/* A kernel that has no room to watch one descriptor more, as when a user has all that
 * /proc/sys/fs/epoll/max_user_watches allows: libev then stops the watcher and says EV_ERROR.
 *
 * This epoll_ctl() stands before the C library's, for libev, too. To be included by the one file of
 * a test that has not worker/wakeup.c in it. */
#ifndef USHER_TESTS_WATCHES_H
#define USHER_TESTS_WATCHES_H

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool watches_refused;
static unsigned watches_asked; /* while they are refused */

// NOLINTNEXTLINE(misc-definitions-in-headers,readability-inconsistent-declaration-parameter-name)
__attribute__((visibility("default"))) int epoll_ctl(int set, int operation, int fd,
						     struct epoll_event *event)
{
	if (watches_refused && operation == EPOLL_CTL_ADD) {
		watches_asked++;
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

#endif
