/* Every action in every event: nothing crashes, leaks, or is told after on_close.
 *
 * Each pair of an event and an action plays one scene: a client and a server that exchange data,
 * end and close. The action happens inside the event, on the client's or on the server's end. The
 * sanitizers and valgrind see what went wrong in memory; the rest is asserted here.
 *
 * CB-3: any object may be destroyed in any callback. CB-6: one close, and it comes last. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "common/net/transfer.h"
#include "tests/helpers/stage.h"

static char big[1 << 20];
static struct stage *stage;

static void destroy(struct actor *actor)
{
	net_socket_destroy(actor->socket, 0);
}

static void destroy_with_error(struct actor *actor)
{
	net_socket_destroy(actor->socket, -EPROTO);
}

static void destroy_both(struct actor *actor)
{
	if (stage->client.socket)
		net_socket_destroy(stage->client.socket, 0);
	if (stage->guest.socket)
		net_socket_destroy(stage->guest.socket, -EIO);
}

static void end_it(struct actor *actor)
{
	net_socket_end(actor->socket, NULL, 0, NULL, NULL);
}

static void end_with_data(struct actor *actor)
{
	net_socket_end(actor->socket, big, sizeof(big), NULL, NULL);
}

static void destroy_soon(struct actor *actor)
{
	net_socket_destroy_soon(actor->socket);
}

static void reset(struct actor *actor)
{
	net_socket_reset_and_destroy(actor->socket);
}

static void write_much(struct actor *actor)
{
	if (actor->status++ < 3)
		net_socket_write(actor->socket, big, sizeof(big), NULL, NULL);
}

static void write_then_destroy(struct actor *actor)
{
	net_socket_write(actor->socket, big, sizeof(big), NULL, NULL);
	net_socket_write(actor->socket, "x", 1, NULL, NULL);
	net_socket_destroy(actor->socket, 0);
}

static void pause_and_resume(struct actor *actor)
{
	net_socket_pause(actor->socket);
	net_socket_resume(actor->socket);
}

static void change_ops(struct actor *actor)
{
	net_socket_set_ops(actor->socket, &actor_ops, actor);
}

static void cork_and_end(struct actor *actor)
{
	net_socket_cork(actor->socket);
	net_socket_write(actor->socket, "corked", 6, NULL, NULL);
	net_socket_end(actor->socket, NULL, 0, NULL, NULL);
}

static void set_short_timeout(struct actor *actor)
{
	net_socket_set_timeout(actor->socket, 1, NULL, NULL);
}

static void hold_and_release(struct actor *actor)
{
	net_socket_hold(actor->socket);
	net_socket_destroy(actor->socket, 0);
	net_socket_release(actor->socket);
}

static void pipe_to_itself_and_away(struct actor *actor)
{
	struct actor *other = actor == &stage->client ? &stage->guest : &stage->client;

	if (!other->socket)
		return;
	net_socket_pipe(actor->socket, other->socket);
	if (actor->status++ % 2)
		net_socket_unpipe(actor->socket);
}

static void close_server(struct actor *actor)
{
	net_server_close(stage->host.server, NULL, NULL);
}

static void free_server(struct actor *actor)
{
	net_server_free(stage->host.server);
	stage->host.server = NULL;
}

static void close_all(struct actor *actor)
{
	if (stage->host.server)
		net_server_close_all_connections(stage->host.server);
}

static void connect_again(struct actor *actor)
{
	if (stage->host.server && net_server_listening(stage->host.server) && actor->status++ < 2)
		net_socket_connect_port(actor->socket, host_port(&stage->host), "127.0.0.1", NULL,
					NULL);
}

static struct net_socket *sent; /* held until the scene is over */
static const char *sender;

/* One that was sent is told no more, but for what was complete before. */
static void forget_sent(struct actor *actor)
{
	if (actor->socket == sent)
		actor->socket = NULL;
}

static bool send_now(struct actor *actor)
{
	forget_sent(actor);
	if (!actor->socket || transfer_check(actor->socket) != 0)
		return false;
	sent = actor->socket;
	sender = actor->name;
	net_socket_hold(sent);
	close(transfer_detach(sent));
	actor->socket = NULL;
	return true;
}

static void send_away(struct actor *actor)
{
	send_now(actor);
}

/* Not yet, in the turn in which it was sent. */
static void send_and_connect_again(struct actor *actor)
{
	if (send_now(actor))
		assert_int_equal(net_socket_connect_port(sent, 1, "127.0.0.1", NULL, NULL),
				 NET_ERR_STREAM_DESTROYED);
}

static void unreference(struct actor *actor)
{
	net_socket_unref(actor->socket);
	net_socket_ref(actor->socket);
}

static const struct {
	const char *name;
	void (*act)(struct actor *actor);
} actions[] = {
	{"destroy", destroy},
	{"destroy_with_error", destroy_with_error},
	{"destroy_both", destroy_both},
	{"end", end_it},
	{"end_with_data", end_with_data},
	{"destroy_soon", destroy_soon},
	{"reset", reset},
	{"write_much", write_much},
	{"write_then_destroy", write_then_destroy},
	{"pause_and_resume", pause_and_resume},
	{"change_ops", change_ops},
	{"cork_and_end", cork_and_end},
	{"set_short_timeout", set_short_timeout},
	{"hold_and_release", hold_and_release},
	{"pipe", pipe_to_itself_and_away},
	{"close_server", close_server},
	{"free_server", free_server},
	{"close_all", close_all},
	{"connect_again", connect_again},
	{"unreference", unreference},
	{"send_away", send_away},
	{"send_and_connect_again", send_and_connect_again},
};

static const char *const events[EVENT_END] = {
	[ON_ATTEMPT] = "attempt", [ON_ATTEMPT_FAILED] = "attempt_failed",
	[ON_LOOKUP] = "lookup",   [ON_CONNECT] = "connect",
	[ON_READY] = "ready",     [ON_DATA] = "data",
	[ON_DRAIN] = "drain",     [ON_END] = "end",
	[ON_FINISH] = "finish",   [ON_TIMEOUT] = "timeout",
	[ON_ERROR] = "error",     [ON_CLOSE] = "close",
	[ON_DONE] = "done",
};

/* What the two do when nobody interferes: all events but errors come up. */
static void begin_scene(enum event event)
{
	struct actor *client = &stage->client;

	stage_open(stage, NULL);
	client->story = &stage->story;
	assert_int_equal(
		net_socket_new(stage->story.loop, NULL, &actor_full_ops, client, &client->socket),
		0);
	net_socket_set_timeout(client->socket, 5, actor_done, client);
	assert_int_equal(net_socket_connect_port(client->socket, host_port(&stage->host),
						 event == ON_LOOKUP           ? "localhost"
						 : event == ON_ATTEMPT_FAILED ? "127.0.0.2"
									      : "127.0.0.1",
						 actor_done, client),
			 0);
	net_socket_write(client->socket, big, sizeof(big), actor_done, client);
	if (event == ON_ERROR)
		net_socket_destroy(client->socket, -EPROTO);
}

/* Who connected again may be accepted only now, and nobody else would end that. */
static bool is_over(void *ctx)
{
	forget_sent(&stage->client);
	forget_sent(&stage->guest);
	if (stage->guest.story && stage->guest.socket)
		net_socket_destroy(stage->guest.socket, 0);
	return !stage->client.socket && (!stage->guest.story || !stage->guest.socket);
}

/* A scene that goes on for ever is ended from outside, after what can happen has happened. */
static void end_scene(void)
{
	story_run_ms(&stage->story, 12);
	forget_sent(&stage->client);
	if (stage->client.socket)
		net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	story_run_ms(&stage->story, 2);
	memset(stage->client.on, 0, sizeof(stage->client.on));
	memset(stage->guest.on, 0, sizeof(stage->guest.on));
	memset(stage->host.on, 0, sizeof(stage->host.on));
	if (stage->client.socket)
		net_socket_destroy(stage->client.socket, 0);
	if (stage->guest.socket)
		net_socket_destroy(stage->guest.socket, 0);
	story_run_for(&stage->story, is_over, NULL);
	story_run_ready(&stage->story);
	is_over(NULL);
	if (sent)
		net_socket_release(sent);
	sent = NULL;
}

/* Unless it was sent away. */
static void assert_close_is_last(const char *name)
{
	char close[16], word[16];
	size_t length = strlen(name);
	const char *last = NULL;

	snprintf(close, sizeof(close), "%s.close", name);
	snprintf(word, sizeof(word), "%s.", name);
	if (sender == name) {
		assert_null(strstr(stage->story.text, close));
		return;
	}
	for (const char *at = stage->story.text; (at = strstr(at, word)); at += length)
		last = at;
	if (last && strncmp(last, close, strlen(close)) != 0)
		fail_msg("after the close: %s", stage->story.text);
}

static void play(enum event event, size_t action, bool on_client)
{
	void *state;

	assert_int_equal(stage_set(&state), 0);
	stage = state;
	sender = NULL;
	begin_scene(event);
	(on_client ? &stage->client : &stage->guest)->on[event] = actions[action].act;
	end_scene();
	assert_close_is_last(stage->client.name);
	assert_close_is_last(stage->guest.name);
	assert_int_equal(stage_clear(&state), 0);
}

static void every_action_is_safe_in_every_event(void **state)
{
	for (enum event event = 0; event < EVENT_END; event++)
		for (size_t i = 0; i < ARRAY_LEN(actions); i++)
			for (int on_client = 0; on_client < 2; on_client++) {
				/* Seen when a sanitizer or an assertion ends the test. */
				print_message("%s in %s of %s\n", actions[i].name, events[event],
					      on_client ? "C" : "S");
				play(event, i, on_client);
			}
}

static void act_on_guest(struct host *host)
{
	void (*act)(struct actor *) = (void (*)(struct actor *))host->other;

	act(&stage->guest);
}

/* The same inside on_connection, where the socket has just got its ops. */
static void every_action_is_safe_in_on_connection(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		void *made;

		print_message("%s in on_connection\n", actions[i].name);
		assert_int_equal(stage_set(&made), 0);
		stage = made;
		sender = NULL;
		begin_scene(ON_CONNECT);
		stage->host.other = (void *)actions[i].act;
		stage->host.on[ON_CONNECTION] = act_on_guest;
		end_scene();
		assert_close_is_last(stage->guest.name);
		assert_int_equal(stage_clear(&made), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_action_is_safe_in_every_event),
		cmocka_unit_test(every_action_is_safe_in_on_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
