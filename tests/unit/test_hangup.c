/* What a loop is told of a descriptor whose other end was closed, and what that makes it do. */
#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"

static unsigned changes; /* of an entry in any set */

/* Stands before the C library's, for libev too. */
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
__attribute__((visibility("default"))) int epoll_ctl(int set, int operation, int fd,
						     struct epoll_event *event)
{
	changes += operation == EPOLL_CTL_MOD;
	return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

/* What epoll_wait() tells of fd. */
static uint32_t told(int fd, uint32_t wanted)
{
	struct epoll_event event = {.events = wanted};
	AUTO_CLOSE int set = epoll_create1(EPOLL_CLOEXEC);

	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), 0);
	event.events = 0;
	assert_in_range(epoll_wait(set, &event, 1, 0), 0, 1);
	return event.events;
}

static void whoever_can_read_is_not_told_of_the_hang_up(void **state)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	AUTO_CLOSE int fd = pair[0];
	assert_int_equal(told(fd, EPOLLIN), 0);
	close(pair[1]);
	assert_int_equal(told(fd, EPOLLIN), EPOLLIN);
}

/* Nothing else may tell him. */
static void whoever_cannot_is_told(void **state)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	AUTO_CLOSE int fd = pair[0];
	close(pair[1]);
	assert_int_equal(told(fd, 0), EPOLLHUP);
	assert_int_equal(told(fd, EPOLLOUT), EPOLLOUT | EPOLLHUP);
	assert_int_equal(told(fd, EPOLLIN | EPOLLOUT), EPOLLIN | EPOLLOUT | EPOLLHUP);
}

static void an_empty_pipe_that_was_closed_is_told(void **state)
{
	int pair[2];

	assert_int_equal(pipe(pair), 0);
	AUTO_CLOSE int fd = pair[0];
	close(pair[1]);
	assert_int_equal(told(fd, EPOLLIN), EPOLLHUP);
}

static void on_end(struct ev_loop *loop, ev_io *io, int events)
{
	char byte;

	assert_int_equal(events, EV_READ);
	assert_int_equal(recv(io->fd, &byte, 1, 0), 0);
	ev_io_stop(loop, io);
}

static void an_end_changes_nothing_in_the_set(void **state)
{
	struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
	int pair[2];
	ev_io io;

	assert_non_null(loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ev_io_init(&io, on_end, pair[0], EV_READ);
	ev_io_start(loop, &io);
	ev_run(loop, EVRUN_NOWAIT);
	close(pair[1]);
	changes = 0;
	ev_run(loop, EVRUN_ONCE);
	assert_false(ev_is_active(&io));
	assert_int_equal(changes, 0);
	close(pair[0]);
	ev_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_can_read_is_not_told_of_the_hang_up),
		cmocka_unit_test(whoever_cannot_is_told),
		cmocka_unit_test(an_empty_pipe_that_was_closed_is_told),
		cmocka_unit_test(an_end_changes_nothing_in_the_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
