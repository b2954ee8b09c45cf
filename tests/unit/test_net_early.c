/* What came along with a connection: it is read before the loop sleeps again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/stage.h"

/* A client that has spoken before it is accepted. */
static int early_client(struct stage *stage, const char *text)
{
	int fd = plain_connect(&stage->host);

	plain_send(fd, text);
	client_await_arrival(fd);
	return fd;
}

/* Waits once: what is told without another wait came along. */
static const char *one_wake_up(struct stage *stage)
{
	story_forget(&stage->story);
	ev_run(stage->story.loop, EVRUN_ONCE);
	return stage->story.text;
}

static void data_is_told_in_the_same_wake_up(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection S.data:5 ");
}

static void an_end_is_told_after_the_data(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	AUTO_CLOSE int fd = early_client(stage, "hello");
	shutdown(fd, SHUT_WR);
	assert_string_equal(one_wake_up(stage), "H.connection S.data:5 ");
	story_run_until(&stage->story, "S.close");
	assert_true(story_in_order(&stage->story, "S.data:5", "S.end"));
}

static void greet(struct host *host)
{
	struct actor *guest = host->other;

	net_socket_write(host->latest, "hi", 2, actor_done, guest);
}

/* CB-2: what on_connection began is answered before further events. */
static void what_on_connection_began_comes_first(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = greet;
	stage->host.other = &stage->guest;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection S.done:0 S.data:5 ");
}

/* Who speaks first himself would ask in vain each time. */
static void after_a_silent_client_some_are_not_asked(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	AUTO_CLOSE int silent = plain_connect(&stage->host);
	assert_string_equal(one_wake_up(stage), "H.connection ");
	assert_true(stage->host.server->spared_reads > 1);
	stage->host.server->spared_reads = 1;

	AUTO_CLOSE int not_asked = early_client(stage, "a");
	assert_string_equal(one_wake_up(stage), "H.connection ");
	assert_string_equal(one_wake_up(stage), "G.data:1 ");

	AUTO_CLOSE int asked = early_client(stage, "bc");
	assert_string_equal(one_wake_up(stage), "H.connection G.data:2 ");
}

static char own_buffer[16];
static int asked;

static void *give_buffer(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	asked++;
	*ret_size = sizeof(own_buffer);
	return own_buffer;
}

static bool take_buffer(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	struct stage *stage = ctx;

	story_tell(&stage->story, "read:%zu", size);
	return true;
}

static void use_own_buffer(struct host *host)
{
	static const struct net_socket_ops ops = {.on_buffer = give_buffer, .on_read = take_buffer};

	net_socket_set_ops(host->latest, &ops, host->other);
}

static void nobody_is_asked_for_a_buffer_in_vain(void **state)
{
	struct stage *stage = *state;

	asked = 0;
	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = use_own_buffer;
	stage->host.other = stage;
	AUTO_CLOSE int fd = plain_connect(&stage->host);
	assert_string_equal(one_wake_up(stage), "H.connection ");
	story_run_ready(&stage->story);
	assert_int_equal(asked, 0);
	plain_send(fd, "hello");
	story_run_until(&stage->story, "read:5");
	assert_int_equal(asked, 1);
	net_socket_set_ops(stage->host.latest, &actor_ops, &stage->guest);
}

static void pause_it(struct host *host)
{
	net_socket_pause(host->latest);
}

static void who_pauses_at_once_gets_nothing(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = pause_it;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection ");
	assert_int_equal(stage->host.server->spared_reads, 0);
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.data:5");
}

/* The wish may change after on_connection, and before the turn. */
static void pause_later(struct net_socket *socket, int status, void *ctx)
{
	net_socket_pause(socket);
}

static void greet_and_pause(struct host *host)
{
	net_socket_write(host->latest, "hi", 2, pause_later, NULL);
}

static void who_pauses_before_the_turn_gets_nothing(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = greet_and_pause;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection ");
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.data:5");
}

static void put_back(struct host *host)
{
	assert_int_equal(net_socket_unshift(host->latest, "first", 5), 0);
}

static void what_was_put_back_is_told_before(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = put_back;
	AUTO_CLOSE int fd = early_client(stage, " then");
	story_run_until(&stage->story, "H.connection");
	while (stage->guest.received < 10)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_memory_equal(stage->guest.data, "first then", 10);
}

static void destroy_it(struct host *host)
{
	net_socket_destroy(host->latest, 0);
}

static void who_is_destroyed_at_once_is_not_read(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = destroy_it;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection S.close ");
}

static void destroy_later(struct net_socket *socket, int status, void *ctx)
{
	net_socket_destroy(socket, 0);
}

static void greet_and_destroy(struct host *host)
{
	net_socket_write(host->latest, "hi", 2, destroy_later, NULL);
}

static void who_is_destroyed_before_the_turn_is_not_read(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = greet_and_destroy;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	assert_string_equal(one_wake_up(stage), "H.connection S.close ");
}

static void free_it(struct host *host)
{
	net_server_free(host->server);
	host->server = NULL;
}

/* The connection outlives its server. */
static void a_server_freed_at_once_loses_no_data(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = free_it;
	AUTO_CLOSE int fd = early_client(stage, "hello");
	story_run_until(&stage->story, "S.data:5");
}

static void free_later(struct net_socket *socket, int status, void *ctx)
{
	free_it(ctx);
}

static void greet_and_free(struct host *host)
{
	net_socket_write(host->latest, "hi", 2, free_later, host);
}

static void a_server_freed_before_the_turn_is_not_touched(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage->host.on[ON_CONNECTION] = greet_and_free;
	AUTO_CLOSE int fd = plain_connect(&stage->host);
	assert_string_equal(one_wake_up(stage), "H.connection ");
	plain_send(fd, "hello");
	story_run_until(&stage->story, "S.data:5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(data_is_told_in_the_same_wake_up),
		on_stage(an_end_is_told_after_the_data),
		on_stage(what_on_connection_began_comes_first),
		on_stage(after_a_silent_client_some_are_not_asked),
		on_stage(nobody_is_asked_for_a_buffer_in_vain),
		on_stage(who_pauses_at_once_gets_nothing),
		on_stage(who_pauses_before_the_turn_gets_nothing),
		on_stage(what_was_put_back_is_told_before),
		on_stage(who_is_destroyed_at_once_is_not_read),
		on_stage(who_is_destroyed_before_the_turn_is_not_read),
		on_stage(a_server_freed_at_once_loses_no_data),
		on_stage(a_server_freed_before_the_turn_is_not_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
