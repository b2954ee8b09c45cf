/* How a server ends, and how many connections it has meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/stage.h"

/* --- closing --------------------------------------------------------------------------------- */

/* SC-1 */
static void close_resets_who_waits_and_keeps_who_is_there(void **state)
{
	struct stage *stage = *state;
	int waiting;

	stage_connected(stage);
	waiting = plain_connect(&stage->host);
	net_server_close(stage->host.server, NULL, NULL);
	plain_expect_reset(waiting);
	close(waiting);
	net_socket_write(stage->client.socket, "still", 5, NULL, NULL);
	story_run_until(&stage->story, "S.data:5");
}

/* SC-2, CB-1 */
static void close_is_told_when_the_last_connection_is_gone(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_server_close(stage->host.server, host_done, &stage->host);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "H.close");
	assert_true(story_in_order(&stage->story, "S.close", "H.done:0"));
	assert_true(story_in_order(&stage->story, "H.done:0", "H.close"));
}

/* SC-2: a half-open or unread connection is one too. */
static void close_waits_for_connections_that_are_paused(void **state)
{
	const struct net_server_options options = {.pause_on_connect = true};
	struct stage *stage = *state;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	net_socket_end(stage->client.socket, "unread", 6, NULL, NULL);
	net_server_close(stage->host.server, NULL, NULL);
	story_run_until(&stage->story, "C.finish");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "H.close"));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "H.close");
}

/* SC-3, ER-7: here without the close event, since nothing was open (DF-2). */
static void close_of_what_is_not_open_is_told_to_its_completion_only(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	net_server_close(stage->host.server, host_done, &stage->host);
	assert_string_equal(stage->story.text, "");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:ERR_SERVER_NOT_RUNNING ");
	assert_string_equal(net_error_message(stage->host.status), "Server is not running.");
}

/* SC-3: a server whose connections come from elsewhere closes like any other. */
static void a_server_without_a_socket_adopts_and_closes_after_its_last_connection(void **state)
{
	struct stage *stage = *state;
	struct addr peer = {.len = 0};
	int pair[2];

	stage_create(stage, NULL);
	assert_int_equal(server_open_unbound(stage->host.server), 0);
	assert_int_equal(server_open_unbound(stage->host.server), NET_ERR_SERVER_ALREADY_LISTEN);
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	assert_int_equal(server_adopt(stage->host.server, pair[1], &peer), 0);
	assert_int_equal(net_server_connections(stage->host.server), 1);

	net_server_close(stage->host.server, host_done, &stage->host);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "H.close"));
	close_fd(pair[0]);
	story_run_until(&stage->story, "H.close");
	assert_true(story_has(&stage->story, "H.done:0"));
}

/* SC-4, DF-2 */
static void closing_twice_is_one_close_event(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	net_server_close(stage->host.server, host_done, &stage->host);
	net_server_close(stage->host.server, host_done, &stage->host);
	story_run_until(&stage->story, "H.close");
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "H.close"), 1);
	assert_int_equal(story_count(&stage->story, "H.done:0"), 1);
	assert_int_equal(story_count(&stage->story, "H.done:ERR_SERVER_NOT_RUNNING"), 1);
}

/* SC-5, DF-2 */
static void listening_again_at_once_leaves_no_stale_close(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	net_server_close(stage->host.server, host_done, &stage->host);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
	assert_true(net_server_listening(stage->host.server));
}

/* SC-6 */
static void the_file_is_gone_when_close_returns(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_connect(stage, NULL);
	assert_int_equal(access(stage->path, F_OK), 0);
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(access(stage->path, F_OK), -1);
	assert_int_equal(net_server_connections(stage->host.server), 1);
}

/* SC-7: here nothing listens, so there is no address, for paths as well. */
static void a_closed_server_has_no_address(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_open_path(stage, NULL);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, stage->path);
	assert_int_equal(address.family, 0);
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(net_server_address(stage->host.server, &address), -ENOTCONN);
}

static void free_host(struct host *host)
{
	net_server_free(host->server);
	host->server = NULL;
}

/* CB-3: freed inside its own event; the connection lives on without a server. */
static void a_server_may_be_freed_in_its_own_events(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = free_host;
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	story_run_until(&stage->story, "H.connection");
	story_run_until(&stage->story, "C.ready");
	assert_null(net_socket_server(stage->guest.socket));
	net_socket_write(stage->client.socket, "still", 5, NULL, NULL);
	story_run_until(&stage->story, "S.data:5");
}

/* Nothing of a freed server is told, completions included. */
static void a_freed_server_is_silent(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	net_server_close(stage->host.server, host_done, &stage->host);
	net_server_get_connections(stage->host.server, host_counted, &stage->host);
	net_server_listen(stage->host.server, NULL, host_done, &stage->host);
	free_host(&stage->host);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_server_free(NULL);
}

/* SC-2, SC-5: a connection of the next time of listening holds the news of the close back. */
static void a_connection_that_comes_before_the_close_is_told_is_waited_for(void **state)
{
	struct stage *stage = *state;
	struct addr peer;
	int pair[2];

	stage_open(stage, NULL);
	net_server_close(stage->host.server, host_done, &stage->host);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(addr_of_peer(pair[0], &peer), 0);
	assert_int_equal(server_adopt(stage->host.server, pair[0], &peer), 0);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "H.done:0"));
	close(pair[1]);
	story_run_until(&stage->story, "H.done:0");
	assert_true(story_in_order(&stage->story, "S.close", "H.done:0"));
	assert_false(story_has(&stage->story, "H.close"));
}

/* --- counting -------------------------------------------------------------------------------- */

/* GC-1 */
static void connections_are_counted_on_a_later_turn(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(net_server_get_connections(stage->host.server, host_counted, &stage->host),
			 0);
	assert_string_equal(stage->story.text, "");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.counted:1 ");
	assert_int_equal(stage->host.status, 0);
}

/* GC-1 */
static void a_server_that_never_listened_has_no_connections(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	net_server_get_connections(stage->host.server, host_counted, &stage->host);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.counted:0 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(close_resets_who_waits_and_keeps_who_is_there),
		on_stage(close_is_told_when_the_last_connection_is_gone),
		on_stage(close_waits_for_connections_that_are_paused),
		on_stage(close_of_what_is_not_open_is_told_to_its_completion_only),
		on_stage(a_server_without_a_socket_adopts_and_closes_after_its_last_connection),
		on_stage(closing_twice_is_one_close_event),
		on_stage(listening_again_at_once_leaves_no_stale_close),
		on_stage(the_file_is_gone_when_close_returns),
		on_stage(a_closed_server_has_no_address),
		on_stage(a_server_may_be_freed_in_its_own_events),
		on_stage(a_freed_server_is_silent),
		on_stage(a_connection_that_comes_before_the_close_is_told_is_waited_for),
		on_stage(connections_are_counted_on_a_later_turn),
		on_stage(a_server_that_never_listened_has_no_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
