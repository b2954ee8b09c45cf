/* A descriptor that is closed here, though others have it, is no longer in the set of our loop. */
#include "common/net/unwatch.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/context.h"
#include "tests/helpers/kernel.h"

struct fixture {
	int spare; /* has a lower number than the loop's set */
	struct ev_loop *loop;
	struct net_context *context;
	size_t watched; /* by the loop, for itself */
	int fd;
	int copy; /* as if another process had it */
	int peer;
};

static void run_ready(struct fixture *f)
{
	ev_run(f->loop, EVRUN_NOWAIT);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->spare = epoll_create1(EPOLL_CLOEXEC);
	f->loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_non_null(f->loop);
	assert_int_equal(context_get(f->loop, &f->context), 0);
	run_ready(f);
	f->watched = kernel_watched_fds(getpid());
	f->fd = f->copy = f->peer = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	context_put(f->context);
	ev_loop_destroy(f->loop);
	close_fd(f->fd);
	close_fd(f->copy);
	close_fd(f->peer);
	close_fd(f->spare);
	free(f);
	return 0;
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
}

/* libev has had the socket in its set, and forgets it. */
static void have_watched_a_socket(struct fixture *f)
{
	int pair[2];
	ev_io io;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->fd = pair[0];
	f->peer = pair[1];
	f->copy = dup(f->fd);
	ev_io_init(&io, on_io, f->fd, EV_READ);
	ev_io_start(f->loop, &io);
	run_ready(f);
	ev_io_stop(f->loop, &io);
	assert_int_equal(kernel_watched_fds(getpid()), f->watched + 1);
}

static void close_unwatched(struct fixture *f)
{
	unwatch(f->context, f->fd);
	close(f->fd);
	f->fd = -1;
	assert_int_equal(kernel_watched_fds(getpid()), f->watched);
	close(f->copy);
	close(f->peer);
	f->copy = f->peer = -1;
}

static void a_socket_that_others_have_leaves_the_set(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		have_watched_a_socket(f);
		close_unwatched(f);
	}
}

static void what_was_never_watched_needs_nothing(void **state)
{
	struct fixture *f = *state;

	have_watched_a_socket(f);
	unwatch(f->context, f->peer);
	close_unwatched(f);
}

/* The old set's number is that of another one then. */
static void after_a_fork_it_leaves_the_new_set(void **state)
{
	struct fixture *f = *state;
	int old;

	have_watched_a_socket(f);
	close_unwatched(f);
	old = f->context->set;

	close(f->spare);
	ev_loop_fork(f->loop);
	run_ready(f);
	f->spare = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(f->spare, old);
	f->watched = kernel_watched_fds(getpid());

	have_watched_a_socket(f);
	close_unwatched(f);
	assert_int_not_equal(f->context->set, old);
}

/* In the child that wants to have nothing to do with the socket, before its loop runs, and when
 * that has a set of its own. Says by its status whether nothing was left in that. */
static void be_a_child(struct fixture *f, ev_io *io)
{
	size_t own;

	ev_loop_fork(f->loop);
	ev_io_stop(f->loop, io);
	unwatch(f->context, f->fd);
	run_ready(f);
	own = kernel_watched_fds(getpid());
	ev_io_start(f->loop, io);
	run_ready(f);
	ev_io_stop(f->loop, io);
	unwatch(f->context, f->fd);
	_exit(kernel_watched_fds(getpid()) == own ? 0 : 1);
}

/* Until then it has the set of its parent, who would be deaf. */
static void a_child_takes_nothing_out_of_its_parents_set(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;
	ev_io io;

	have_watched_a_socket(f);
	ev_io_init(&io, on_io, f->fd, EV_READ);
	ev_io_start(f->loop, &io);
	run_ready(f);
	pid = fork();
	if (pid == 0)
		be_a_child(f, &io);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(kernel_watched_fds(getpid()), f->watched + 1);
	ev_io_stop(f->loop, &io);
	close_unwatched(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_socket_that_others_have_leaves_the_set, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_was_never_watched_needs_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(after_a_fork_it_leaves_the_new_set, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_child_takes_nothing_out_of_its_parents_set, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
