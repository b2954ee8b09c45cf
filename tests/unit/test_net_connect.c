/* Connecting: arguments, order of events, failures, second lives. */
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/socket.h"
#include "common/net/transfer.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"

/* CN-1, CN-5, ER-8 */
static void wrong_arguments_are_refused_at_once(void **state)
{
	static const struct {
		struct net_connect_options options;
		int error;
	} cases[] = {
		{{.host = "127.0.0.1"}, NET_ERR_MISSING_ARGS},
		{{.has_port = true, .port = 65536}, NET_ERR_SOCKET_BAD_PORT},
		{{.has_port = true, .family = 5}, NET_ERR_INVALID_ADDRESS_FAMILY},
		{{.has_port = true, .local_address = "localhost"}, NET_ERR_INVALID_IP_ADDRESS},
		{{.has_port = true, .local_port = -1}, NET_ERR_SOCKET_BAD_PORT},
		{{.has_port = true, .attempt_delay_ms = 9}, NET_ERR_OUT_OF_RANGE},
		{{.path = "@"}, -EINVAL},
	};
	struct stage *stage = *state;

	stage_unconnected(stage);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(stage_connect_to(stage, cases[i].options), cases[i].error);
	assert_false(net_socket_connecting(stage->client.socket));
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
}

/* CN-1: a path makes everything of TCP ignored. */
static void a_path_comes_before_a_port(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(stage_connect_to(stage, (struct net_connect_options){.path = stage->path,
									      .has_port = true,
									      .port = 70000,
									      .family = 9}),
			 0);
	story_run_until(&stage->story, "C.ready");
}

/* CN-1: without a host it is localhost, by name. CN-3: a name is looked up first. */
static void without_a_host_it_is_localhost(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(net_socket_connect_port(stage->client.socket, host_port(&stage->host),
						 NULL, NULL, NULL),
			 0);
	story_run_until(&stage->story, "C.ready");
	assert_true(story_in_order(&stage->story, "C.lookup:127.0.0.1", "C.connect"));
}

static void note_connecting(struct actor *actor)
{
	actor->status = net_socket_connecting(actor->socket);
}

/* CN-2 */
static void connecting_and_pending_end_just_before_the_news(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	stage->client.on[ON_CONNECT] = note_connecting;
	stage->client.status = 7;
	assert_true(net_socket_connecting(stage->client.socket));
	assert_true(net_socket_pending(stage->client.socket));
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_OPENING);
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(stage->client.status, 0);
	assert_false(net_socket_pending(stage->client.socket));
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_OPEN);
}

/* CN-3, CN-7, CB-1 */
static void destroy_in_the_same_turn_connects_nobody(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.close ");
}

/* CN-3: connect(2) to a path is done inside the call, its outcome told later. */
static void a_path_is_connected_inside_the_call(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(net_socket_connect_path(stage->client.socket, stage->path, actor_done,
						 &stage->client),
			 0);
	net_server_close(stage->host.server, NULL, NULL);
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "C.ready");
	assert_true(story_in_order(&stage->story, "C.done:0", "C.connect"));
	assert_true(story_in_order(&stage->story, "C.connect", "C.ready"));
}

/* CN-4, ER-3: "connect ECONNREFUSED ADDR:PORT" */
static void a_refused_connection_is_error_then_close(void **state)
{
	struct stage *stage = *state;
	int port = free_tcp_port();
	char text[64];

	stage_unconnected(stage);
	assert_int_equal(net_socket_connect_port(stage->client.socket, port, "127.0.0.1",
						 actor_done, &stage->client),
			 0);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text,
			    "C.done:ECONNREFUSED C.error:ECONNREFUSED C.close:error ");
	snprintf(text, sizeof(text), "connect ECONNREFUSED 127.0.0.1:%d", port);
	assert_string_equal(stage->client.error_text, text);
}

/* CN-4, ER-3: "connect ENOENT PATH" */
static void a_missing_path_is_error_then_close(void **state)
{
	struct stage *stage = *state;

	stage_unconnected(stage);
	assert_int_equal(
		net_socket_connect_path(stage->client.socket, "/no/such/socket", NULL, NULL), 0);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text, "C.error:ENOENT C.close:error ");
	assert_string_equal(stage->client.error_text, "connect ENOENT /no/such/socket");
}

/* CN-5 */
static void the_local_address_and_port_are_as_asked(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	int port = free_tcp_port();

	stage_open(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(
		stage_connect_to(stage,
				 (struct net_connect_options){.has_port = true,
							      .port = host_port(&stage->host),
							      .host = "127.0.0.1",
							      .local_address = "127.0.0.1",
							      .local_port = port}),
		0);
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(net_socket_local_address(stage->client.socket, &address), 0);
	assert_int_equal(address.port, port);
	net_socket_reset_and_destroy(stage->client.socket);
}

/* CN-5, ER-3: "bind E... - Local (ADDR:PORT)" */
static void a_local_address_that_cannot_be_is_a_bind_error(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(
		stage_connect_to(stage,
				 (struct net_connect_options){.has_port = true,
							      .port = host_port(&stage->host),
							      .host = "127.0.0.1",
							      .local_address = "192.0.2.1"}),
		0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, -EADDRNOTAVAIL);
	assert_memory_equal(stage->client.error_text, "bind EADDRNOTAVAIL 127.0.0.1:", 29);
	assert_non_null(strstr(stage->client.error_text, " - Local (192.0.2.1:0)"));
}

/* CN-6 */
static void port_zero_is_refused_later(void **state)
{
	struct stage *stage = *state;

	stage_unconnected(stage);
	assert_int_equal(net_socket_connect_port(stage->client.socket, 0, "127.0.0.1", NULL, NULL),
			 0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, -ECONNREFUSED);
}

/* CN-7: one close, without an error, and the completion knows; nothing is left open. */
static void destroy_during_a_lookup_is_one_close(void **state)
{
	struct stage *stage = *state;
	size_t before;

	stage_unconnected(stage);
	before = open_fd_count();
	assert_int_equal(net_socket_connect_port(stage->client.socket, 1, "localhost", actor_done,
						 &stage->client),
			 0);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.done:ECANCELED C.close ");
	assert_true(await_fd_count(before + 1)); /* the loop's, for answers */
}

/* ER-11, WR-9: what waited for a connection that never came. */
static void writes_that_waited_for_a_connection_are_told(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text,
			    "C.done:ERR_SOCKET_CLOSED_BEFORE_CONNECTION C.close ");
}

static void destroy_it(struct actor *actor)
{
	net_socket_destroy(actor->socket, 0);
}

/* CB-7, CB-3 */
static void a_socket_destroyed_in_connect_is_never_ready(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	stage->client.on[ON_CONNECT] = destroy_it;
	story_run_until(&stage->story, "C.close");
	assert_false(story_has(&stage->story, "C.ready"));
}

static void connect_again(struct actor *actor)
{
	const struct host *host = actor->other;

	if (++actor->status > 3)
		return;
	assert_int_equal(
		net_socket_connect_port(actor->socket, host_port(host), "127.0.0.1", NULL, NULL),
		0);
	assert_int_equal(net_socket_bytes_written(actor->socket), 0);
}

static void write_then_end(struct actor *actor)
{
	assert_int_equal(option_of(actor->socket, IPPROTO_TCP, TCP_NODELAY), 1);
	net_socket_end(actor->socket, "hi", 2, NULL, NULL);
}

/* CN-8, CB-6 */
static void a_closed_socket_may_connect_again_inside_its_close(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_set_no_delay(stage->client.socket, true);
	stage->client.on[ON_CLOSE] = connect_again;
	stage->client.on[ON_CONNECT] = write_then_end;
	stage->client.other = &stage->host;
	while (stage->client.status < 4)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(story_count(&stage->story, "C.connect"), 4);
	assert_int_equal(story_count(&stage->story, "C.close"), 4);
	assert_int_equal(story_count(&stage->story, "C.end"), 4);
	stage->client.socket = NULL;
}

/* CB-6: what one life has asked for is over before the next one begins. */
static void what_was_sent_away_connects_again_after_its_turn(void **state)
{
	struct stage *stage = *state;
	struct net_socket *s;

	stage_connected(stage);
	s = stage->client.socket;
	net_socket_hold(s);
	close(transfer_detach(s));
	assert_int_equal(
		net_socket_connect_port(s, host_port(&stage->host), "127.0.0.1", NULL, NULL),
		NET_ERR_STREAM_DESTROYED);
	assert_int_equal(net_socket_write(s, "x", 1, NULL, NULL), NET_ERR_STREAM_DESTROYED);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.close"));

	assert_int_equal(
		net_socket_connect_port(s, host_port(&stage->host), "127.0.0.1", NULL, NULL), 0);
	net_socket_release(s);
	net_socket_end(s, "again", 5, NULL, NULL);
	story_run_until(&stage->story, "G.data:5");
	story_run_until(&stage->story, "C.close");
	assert_int_equal(story_count(&stage->story, "C.finish"), 1);
}

/* CN-9: refused, and the connection is not harmed. */
static void connecting_twice_is_refused(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(net_socket_connect_port(stage->client.socket, 1, NULL, NULL, NULL),
			 -EALREADY);
	story_run_until(&stage->story, "C.ready");
	assert_int_equal(net_socket_connect_port(stage->client.socket, 1, NULL, NULL, NULL),
			 -EISCONN);
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(net_socket_connect_port(stage->client.socket, 1, NULL, NULL, NULL),
			 NET_ERR_STREAM_DESTROYED);
}

/* CN-10, TO-1, TO-3: the idle timer covers connecting. 192.0.2.0/24 is for documentation; where it
 * is refused at once instead of dropped there is an error and no timeout. */
static void a_timeout_covers_connecting(void **state)
{
	struct stage *stage = *state;

	stage_unconnected(stage);
	stage->client.on[ON_TIMEOUT] = destroy_it;
	assert_int_equal(stage_connect_to(stage, (struct net_connect_options){.has_port = true,
									      .port = 9,
									      .host = "192.0.2.1",
									      .timeout_ms = 50}),
			 0);
	while (!story_has(&stage->story, "C.close") && !story_has(&stage->story, "C.close:error"))
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_true(story_has(&stage->story, "C.timeout") || stage->client.error != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(wrong_arguments_are_refused_at_once),
		on_stage(a_path_comes_before_a_port),
		on_stage(without_a_host_it_is_localhost),
		on_stage(connecting_and_pending_end_just_before_the_news),
		on_stage(destroy_in_the_same_turn_connects_nobody),
		on_stage(a_path_is_connected_inside_the_call),
		on_stage(a_refused_connection_is_error_then_close),
		on_stage(a_missing_path_is_error_then_close),
		on_stage(the_local_address_and_port_are_as_asked),
		on_stage(a_local_address_that_cannot_be_is_a_bind_error),
		on_stage(port_zero_is_refused_later),
		on_stage(destroy_during_a_lookup_is_one_close),
		on_stage(writes_that_waited_for_a_connection_are_told),
		on_stage(a_socket_destroyed_in_connect_is_never_ready),
		on_stage(a_closed_socket_may_connect_again_inside_its_close),
		on_stage(what_was_sent_away_connects_again_after_its_turn),
		on_stage(connecting_twice_is_refused),
		on_stage(a_timeout_covers_connecting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
