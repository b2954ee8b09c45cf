/* What a connection costs: memory, allocations, system calls. */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"

/* wrap: malloc calloc realloc recv send sendmsg setsockopt getsockname getpeername */

static struct {
	unsigned allocations;
	unsigned polls;
	unsigned reads;
	unsigned writes;
	unsigned others;
} calls;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __real_getsockname(int fd, struct sockaddr *addr, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *size);
int __real_getpeername(int fd, struct sockaddr *addr, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *size);

void *__wrap_malloc(size_t size)
{
	calls.allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	calls.allocations++;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	calls.allocations++;
	return __real_realloc(old, size);
}

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
	calls.reads++;
	return __real_recv(fd, data, size, flags);
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	calls.writes++;
	return __real_send(fd, data, size, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	calls.writes++;
	return __real_sendmsg(fd, message, flags);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	calls.others++;
	return __real_setsockopt(fd, level, name, value, size);
}

int __wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *size)
{
	calls.others++;
	return __real_getsockname(fd, addr, size);
}

int __wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *size)
{
	calls.others++;
	return __real_getpeername(fd, addr, size);
}

/* libev's own calls: what the program shows goes before the C library. */
#define SHOWN __attribute__((visibility("default")))

SHOWN int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
	calls.polls++;
	return epoll_pwait(epoll, events, max, timeout, NULL);
}

SHOWN int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	calls.others++;
	return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

/* 320 bytes for an idle connection in all: of those 16 are malloc's, and up to 32 libev's table. */
static void a_socket_is_small(void **state)
{
	assert_in_range(sizeof(struct net_socket), 1, 264);
}

struct crowd {
	size_t count;
};

static void echo(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	net_socket_write(socket, data, size, NULL, NULL);
}

static const struct net_socket_ops echo_ops = {.on_data = echo};

static void join(struct net_server *server, struct net_socket *socket, void *ctx)
{
	struct crowd *crowd = ctx;

	crowd->count++;
	net_socket_set_ops(socket, &echo_ops, NULL);
}

static const struct net_server_ops crowd_ops = {.on_connection = join};

static void crowd_open(struct stage *stage, struct crowd *crowd)
{
	assert_int_equal(
		net_create_server(stage->story.loop, NULL, &crowd_ops, crowd, &stage->host.server),
		0);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	story_run_ready(&stage->story);
}

/* Memory of the sanitizers is not seen here, and then this shows nothing. */
static void an_idle_connection_costs_at_most_320_bytes(void **state)
{
	enum { COUNT = 1000 };
	struct stage *stage = *state;
	struct crowd crowd = {0};
	static int fds[COUNT];
	size_t before;

	if (!allow_fds(2 * COUNT + 100))
		skip();
	crowd_open(stage, &crowd);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (size_t i = 0; i < COUNT; i++) {
		fds[i] = plain_connect(&stage->host);
		while (crowd.count <= i)
			ev_run(stage->story.loop, EVRUN_ONCE);
	}
	story_run_ready(&stage->story);
	assert_in_range((mallinfo2().uordblks + mallinfo2().hblkhd - before) / COUNT, 0, 320);

	for (size_t i = 0; i < COUNT; i++)
		close(fds[i]);
	net_server_close_all_connections(stage->host.server);
}

static void round_trip(struct stage *stage, int fd)
{
	char data[64] = "ping";

	assert_int_equal(__real_send(fd, data, sizeof(data), 0), sizeof(data));
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(__real_recv(fd, data, sizeof(data), MSG_WAITALL), sizeof(data));
}

/* Three system calls in all, and no allocation. */
static void an_echo_is_one_poll_one_read_and_one_write_without_allocation(void **state)
{
	struct stage *stage = *state;
	struct crowd crowd = {0};
	int fd;

	crowd_open(stage, &crowd);
	fd = plain_connect(&stage->host);
	while (crowd.count == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	round_trip(stage, fd);
	memset(&calls, 0, sizeof(calls));
	for (int i = 0; i < 100; i++)
		round_trip(stage, fd);
	assert_int_equal(calls.polls, 100);
	assert_int_equal(calls.reads, 100);
	assert_int_equal(calls.writes, 100);
	assert_int_equal(calls.allocations, 0);
	assert_int_equal(calls.others, 0);
	close(fd);
	net_server_close_all_connections(stage->host.server);
}

/* One allocation, and nothing is asked of the kernel but the connection itself, and by one read
 * whether something came along. */
static void a_connection_is_one_allocation(void **state)
{
	struct stage *stage = *state;
	struct crowd crowd = {0};
	int fd;

	crowd_open(stage, &crowd);
	fd = plain_connect(&stage->host);
	memset(&calls, 0, sizeof(calls));
	while (crowd.count == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(calls.allocations, 1);
	assert_int_equal(calls.reads, 1);
	assert_int_equal(calls.writes + calls.others, 0);
	close(fd);
	net_server_close_all_connections(stage->host.server);
}

static bool in_the_buffer;

static void see_where(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	const char *from = socket->context->buffer;

	in_the_buffer = (const char *)data >= from && (const char *)data < from + 65536;
}

/* Data is told where it was read to. */
static void a_data_event_copies_nothing(void **state)
{
	static const struct net_socket_ops ops = {.on_data = see_where};
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_ops(stage->guest.socket, &ops, NULL);
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	while (net_socket_bytes_read(stage->guest.socket) == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_true(in_the_buffer);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
}

/* TO-3: activity notes the time, and does not touch the timer. */
static void activity_does_not_restart_the_timer(void **state)
{
	struct stage *stage = *state;
	ev_tstamp at;

	stage_connected(stage);
	net_socket_set_timeout(stage->client.socket, 60000, NULL, NULL);
	at = stage->client.socket->extra->timeout.timer.at;
	memset(&calls, 0, sizeof(calls));
	for (int i = 0; i < 10; i++) {
		net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
		ev_run(stage->story.loop, EVRUN_ONCE);
	}
	assert_true(stage->client.socket->extra->timeout.timer.at == at);
	assert_int_equal(calls.allocations, 0);
}

/* Memory for a queue is there only as long as there is a queue. */
static void what_is_sent_is_freed(void **state)
{
	static char data[4 << 20];
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_write(stage->client.socket, data, sizeof(data), NULL, NULL);
	assert_false(queue_is_empty(&stage->client.socket->queue));
	story_run_until(&stage->story, "C.drain");
	assert_true(queue_is_empty(&stage->client.socket->queue));
	assert_null(stage->client.socket->extra->connecting);
}

/* Small writes are gathered in one piece of memory. */
static void many_tiny_writes_share_memory(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_cork(stage->client.socket);
	memset(&calls, 0, sizeof(calls));
	for (int i = 0; i < 2000; i++)
		net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	assert_int_equal(calls.allocations, 1);
	net_socket_uncork(stage->client.socket);
	while (stage->guest.received < 2000)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(stage->guest.received, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_is_small),
		on_stage(an_idle_connection_costs_at_most_320_bytes),
		on_stage(an_echo_is_one_poll_one_read_and_one_write_without_allocation),
		on_stage(a_connection_is_one_allocation),
		on_stage(a_data_event_copies_nothing),
		on_stage(activity_does_not_restart_the_timer),
		on_stage(what_is_sent_is_freed),
		on_stage(many_tiny_writes_share_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
