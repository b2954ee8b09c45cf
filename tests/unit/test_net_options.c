/* Options that the kernel keeps, references, descriptors that are wrapped, texts of errors. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

/* wrap: setsockopt */
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);

static unsigned calls;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	calls++;
	return __real_setsockopt(fd, level, name, value, size);
}

/* OP-1 */
static void no_delay_is_remembered_before_there_is_a_connection(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(net_socket_set_no_delay(stage->client.socket, true), 0);
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(net_socket_set_no_delay(stage->client.socket, false), 0);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_NODELAY), 0);
}

/* OP-1, OP-2 */
static void the_same_value_again_is_no_system_call(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_no_delay(stage->client.socket, true);
	net_socket_set_keep_alive(stage->client.socket, true, 3000);
	calls = 0;
	net_socket_set_no_delay(stage->client.socket, true);
	net_socket_set_keep_alive(stage->client.socket, true, 3000);
	net_socket_set_keep_alive(stage->client.socket, true, 0);
	assert_int_equal(calls, 0);
}

/* OP-1, OP-2 */
static void options_of_tcp_do_nothing_on_unix_sockets(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_connect(stage, NULL);
	calls = 0;
	assert_int_equal(net_socket_set_no_delay(stage->client.socket, true), 0);
	assert_int_equal(net_socket_set_keep_alive(stage->client.socket, true, 1000), 0);
	assert_int_equal(calls, 0);
}

/* OP-2: whole seconds by truncation, with probes each second and ten of them. */
static void keep_alive_takes_its_delay_in_milliseconds(void **state)
{
	struct stage *stage = *state;
	int before;

	stage_connected(stage);
	before = option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPIDLE);
	assert_int_equal(net_socket_set_keep_alive(stage->client.socket, true, 999), 0);
	assert_int_equal(option_of(stage->client.socket, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPIDLE), before);
	assert_int_equal(net_socket_set_keep_alive(stage->client.socket, true, 5999), 0);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPIDLE), 5);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPINTVL), 1);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPCNT), 10);
	assert_int_equal(net_socket_set_keep_alive(stage->client.socket, false, -5), 0);
	assert_int_equal(option_of(stage->client.socket, SOL_SOCKET, SO_KEEPALIVE), 0);
}

/* OP-2 */
static void keep_alive_is_remembered_before_there_is_a_connection(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_set_keep_alive(stage->client.socket, true, 4000);
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(option_of(stage->client.socket, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_TCP, TCP_KEEPIDLE), 4);
}

/* OP-4 */
static void the_type_of_service_is_set_and_remembered(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(net_socket_set_type_of_service(stage->client.socket, 256),
			 NET_ERR_OUT_OF_RANGE);
	assert_int_equal(net_socket_set_type_of_service(stage->client.socket, 0x10), 0);
	story_run_until(&stage->story, "H.connection");
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(option_of(stage->client.socket, IPPROTO_IP, IP_TOS), 0x10);
	assert_int_equal(net_socket_set_type_of_service(stage->client.socket, 0x08), 0);
	assert_int_equal(option_of(stage->client.socket, IPPROTO_IP, IP_TOS), 0x08);
	assert_int_equal(net_socket_type_of_service(stage->client.socket), 0x08);
	assert_int_equal(net_socket_type_of_service(stage->guest.socket), 0);
}

/* OP-3, SC-9 */
static void references_are_idempotent_and_decide_whether_the_loop_goes_on(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_server_unref(stage->host.server);
	net_socket_unref(stage->guest.socket);
	net_socket_unref(stage->guest.socket);
	assert_true(ev_run(stage->story.loop, EVRUN_NOWAIT));
	net_socket_unref(stage->client.socket);
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));
	net_socket_ref(stage->client.socket);
	net_socket_ref(stage->client.socket);
	assert_true(ev_run(stage->story.loop, EVRUN_NOWAIT));
	net_socket_unref(stage->client.socket);
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));

	/* The watcher's mask changes, the count does not. */
	net_socket_pause(stage->client.socket);
	net_socket_resume(stage->client.socket);
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));
}

/* --- wrapped descriptors --------------------------------------------------------------------- */

static struct net_socket *wrap(struct stage *stage, struct net_socket_options options)
{
	options.has_fd = true;
	stage->client.story = &stage->story;
	assert_int_equal(net_socket_new(stage->story.loop, &options, &actor_ops, &stage->client,
					&stage->client.socket),
			 0);
	return stage->client.socket;
}

static void a_descriptor_is_wrapped_with_both_sides(void **state)
{
	struct stage *stage = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	wrap(stage, (struct net_socket_options){.fd = pair[0]});
	assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_OPEN);
	plain_send(pair[1], "hi");
	story_run_until(&stage->story, "C.data:2");
	close(pair[1]);
	story_run_until(&stage->story, "C.close");
	assert_int_equal(fcntl(pair[0], F_GETFD), -1);
}

static void a_descriptor_may_be_wrapped_for_one_side(void **state)
{
	struct stage *stage = *state;
	char data[3];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	wrap(stage, (struct net_socket_options){.fd = pair[0], .writable = true});
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_WRITE_ONLY);
	plain_send(pair[1], "unseen");
	net_socket_end(stage->client.socket, "out", 3, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text, "C.finish C.close ");
	assert_int_equal(recv(pair[1], data, 3, 0), 3);
	close(pair[1]);

	story_forget(&stage->story);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	wrap(stage, (struct net_socket_options){.fd = pair[0], .readable = true});
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_READ_ONLY);
	close(pair[1]);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text, "C.end C.close ");
}

/* A connection that S has reset, after it said bye. */
static int reset_connection(struct stage *stage)
{
	struct pollfd entry = {.events = POLLRDHUP};
	struct addr peer;
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	assert_int_equal(net_socket_write(stage->guest.socket, "bye", 3, NULL, NULL), 1);
	assert_int_equal(net_socket_reset_and_destroy(stage->guest.socket), 0);
	story_run_until(&stage->story, "S.close");
	story_forget(&stage->story);
	entry.fd = fd;
	assert_int_equal(poll(&entry, 1, WAIT_MS), 1);
	assert_int_equal(addr_of_peer(fd, &peer), -ENOTCONN);
	return fd;
}

/* AC-8: it has no peer any more, which is not to say that it never had one. */
static void a_connection_that_was_reset_before_ends_with_that(void **state)
{
	struct stage *stage = *state;

	wrap(stage, (struct net_socket_options){.fd = reset_connection(stage)});
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text, "C.data:3 C.error:ECONNRESET C.close:error ");
	assert_string_equal(stage->client.error_text, "read ECONNRESET");
}

/* ER-10: ERR_INVALID_FD_TYPE, and the descriptor stays the caller's. */
static void what_is_no_stream_socket_is_refused(void **state)
{
	struct stage *stage = *state;
	struct net_socket *made;
	int fds[] = {open("/dev/null", O_RDWR | O_CLOEXEC),
		     socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), -1};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		const struct net_socket_options options = {.has_fd = true, .fd = fds[i]};

		assert_int_equal(net_socket_new(stage->story.loop, &options, NULL, NULL, &made),
				 NET_ERR_INVALID_FD_TYPE);
	}
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
}

/* --- names of errors ------------------------------------------------------------------------- */

/* ER-0 */
static void every_error_has_a_name_and_a_text(void **state)
{
	for (int code = NET_ERR_SERVER_ALREADY_LISTEN; code >= NET_ERR_IPC_DISCONNECTED; code--) {
		assert_string_not_equal(net_error_name(code), "UNKNOWN");
		assert_string_not_equal(net_error_message(code), "unknown error");
	}
	assert_string_equal(net_error_name(-ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(net_error_message(-EADDRINUSE), "Address already in use");
	assert_string_equal(net_error_name(NET_ERR_SERVER_ALREADY_LISTEN),
			    "ERR_SERVER_ALREADY_LISTEN");
	assert_string_equal(net_error_message(NET_ERR_SERVER_ALREADY_LISTEN),
			    "Listen method has been called more than once without closing.");
	assert_string_equal(net_error_name(-100000), "UNKNOWN");
	assert_string_equal(net_error_message(-100000), "unknown error");
	assert_string_equal(net_error_name(5), "UNKNOWN");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(no_delay_is_remembered_before_there_is_a_connection),
		on_stage(the_same_value_again_is_no_system_call),
		on_stage(options_of_tcp_do_nothing_on_unix_sockets),
		on_stage(keep_alive_takes_its_delay_in_milliseconds),
		on_stage(keep_alive_is_remembered_before_there_is_a_connection),
		on_stage(the_type_of_service_is_set_and_remembered),
		on_stage(references_are_idempotent_and_decide_whether_the_loop_goes_on),
		on_stage(a_descriptor_is_wrapped_with_both_sides),
		on_stage(a_descriptor_may_be_wrapped_for_one_side),
		on_stage(a_connection_that_was_reset_before_ends_with_that),
		on_stage(what_is_no_stream_socket_is_refused),
		cmocka_unit_test(every_error_has_a_name_and_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
