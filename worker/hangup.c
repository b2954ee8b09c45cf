/* The end of a connection, without a system call that changes nothing.
 *
 * EPOLLHUP is told unasked, and libev takes it for readable and writable at once: where only one of
 * these is waited for it has the kernel note so again. Who is told EPOLLIN besides finds the end by
 * reading, and needs no more. So the program's own epoll_wait() stands before the C library's, and
 * leaves EPOLLHUP out then. Alone it stays: whoever only waits to write must know.
 *
 * Source: epoll_ctl(2); ev_epoll.c of libev 4.33, on "redundant EPOLL_CTL_MOD calls". Unix sockets
 *         and pipes hang up when the peer is closed, TCP when both sides have ended. */
#include <stddef.h>
#include <sys/epoll.h>

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
__attribute__((visibility("default"))) int epoll_wait(int set, struct epoll_event *events, int size,
						      int timeout_ms)
{
	int count = epoll_pwait(set, events, size, timeout_ms, NULL);

	for (int i = 0; i < count; i++)
		if (events[i].events == (EPOLLIN | EPOLLHUP))
			events[i].events = EPOLLIN;
	return count;
}
