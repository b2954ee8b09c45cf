/* A worker that got a socket accepts on it. */
#include "tests/helpers/play.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/wait.h"
#include "worker/service.h"
#include "worker/wakeup.h"

/* wrap: accept4 */
int __real_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);

/* 0: it does what it always does. */
static int accept_error;

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags)
{
	if (accept_error == 0)
		return __real_accept4(fd, addr, size, flags);
	errno = accept_error;
	return -1;
}

/* Leaving the queue of those who wait and joining it again is for those who share a socket. */
static void who_has_a_socket_alone_does_not_queue_again(void **state)
{
	struct play *p = *state;
	const struct service *service;

	play_serve(p, 0, true);
	play_serve(p, 1, false);
	LIST_FOREACH (service, &p->worker.services, link) {
		const struct server_sharing *sharing = service->server->sharing;

		assert_true(sharing == (service->handle == 0 ? &worker_sharing : &worker_alone));
	}
}

static void connect_and_echo(struct play *p, int *ret_fd)
{
	*ret_fd = connect_tcp("127.0.0.1", p->port);
	client_send(*ret_fd, "x");
	play_run_until_heard(p, *ret_fd);
	client_expect(*ret_fd, "x");
}

/* So that the others look. */
static void who_has_no_descriptor_for_a_client_says_so(void **state)
{
	const struct service *service;
	struct play *p = *state;
	struct ipc_message message;
	AUTO_CLOSE int client = -1;

	play_serve(p, 0, true);
	service = LIST_FIRST(&p->worker.services);
	client = connect_tcp("127.0.0.1", p->port);
	assert_true(wait_readable(p->listening, WAIT_MS));
	accept_error = EMFILE;
	play_run_ready(p);
	accept_error = 0;
	assert_true(play_hear(p, IPC_SHORT, &message));
	while (net_server_connections(service->server) == 0)
		ev_run(p->loop, EVRUN_ONCE);
	assert_int_equal(p->worker.status, 0);
}

/* A stand-in gives a socket back while it still has connections from it, and gets it again. */
static void a_socket_may_come_again_and_all_connections_count(void **state)
{
	const struct ipc_release release = {.listener = PLAY_LISTENER, .handle = 1};
	const struct ipc_count count = {.request = 9};
	const struct ipc_counted_row *rows;
	struct play *p = *state;
	struct ipc_message message;
	AUTO_CLOSE int first = -1;
	AUTO_CLOSE int second = -1;

	play_serve(p, 1, false);
	connect_and_echo(p, &first);
	play_say(p, IPC_RELEASE, &release, NULL, 0, NULL);
	play_serve(p, 1, false);
	connect_and_echo(p, &second);
	play_say(p, IPC_COUNT, &count, NULL, 0, NULL);
	play_run_ready(p);
	assert_true(play_hear(p, IPC_COUNTED, &message));
	assert_int_equal(message.tail_count, 1);
	rows = message.tail;
	assert_int_equal(rows->connections, 2);
	assert_int_equal(p->worker.status, 0);
}

static void an_error_of_a_socket_is_told_with_the_listeners_name(void **state)
{
	struct play *p = *state;
	char log[PLAY_LOG_SIZE];

	play_serve(p, 0, false);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", p->port);
	assert_true(wait_readable(p->listening, WAIT_MS));
	accept_error = EINVAL;
	play_run_logged(p, log);
	accept_error = 0;
	play_expect_logged(log, "listener \"it\": accept EINVAL");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY_TEST(who_has_a_socket_alone_does_not_queue_again),
		PLAY_TEST(who_has_no_descriptor_for_a_client_says_so),
		PLAY_TEST(a_socket_may_come_again_and_all_connections_count),
		PLAY_TEST(an_error_of_a_socket_is_told_with_the_listeners_name),
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker serve", tests, NULL, NULL);
}
