/* Without memory: every allocation of a scene fails once, and nothing crashes, leaks or hangs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/stage.h"

/* wrap: malloc calloc strdup */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool counting;
static int until_failure;
static bool failed;

static bool fails(void)
{
	if (!counting || until_failure-- > 0)
		return false;
	counting = false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

static char big[4 << 20];

static void assert_done_or_nomem(int r)
{
	assert_true(r >= 0 || r == -ENOMEM || r == NET_ERR_STREAM_DESTROYED);
}

static int open_host(struct stage *stage, bool by_path)
{
	const struct net_server_options options = {.write_limit = 2 * sizeof(big)};
	struct net_server *server = NULL;
	int r = net_create_server(stage->story.loop, &options, &host_ops, &stage->host, &server);

	if (r < 0)
		return r;
	stage->host.server = server;
	if (by_path)
		return net_server_listen_path(server, stage->path, 0, host_done, &stage->host);
	return net_server_listen_port(server, 0, "127.0.0.1", 0, host_done, &stage->host);
}

static int open_client(struct stage *stage, bool by_path)
{
	const struct net_socket_options options = {.write_limit = 2 * sizeof(big)};
	struct net_connect_options target = {.path = by_path ? stage->path : NULL};
	int r;

	if (!by_path) {
		target.has_port = true;
		target.host = "127.0.0.1";
		target.port = host_port(&stage->host);
	}
	stage->client.story = &stage->story;
	r = net_socket_new(stage->story.loop, &options, &actor_ops, &stage->client,
			   &stage->client.socket);
	if (r < 0) {
		stage->client.socket = NULL;
		return r;
	}
	return net_socket_connect(stage->client.socket, &target, actor_done, &stage->client);
}

static void talk(struct stage *stage)
{
	struct net_socket *socket = stage->client.socket;

	assert_done_or_nomem(net_socket_set_timeout(socket, 60000, NULL, NULL));
	assert_done_or_nomem(net_socket_set_encoding(socket, NET_ENCODING_UTF8));
	assert_done_or_nomem(net_socket_set_keep_alive(socket, true, 5000));
	assert_done_or_nomem(net_socket_write(socket, "x", 1, actor_done, &stage->client));
	assert_done_or_nomem(
		net_socket_write(socket, big, sizeof(big), actor_done, &stage->client));
	assert_done_or_nomem(net_socket_write(socket, "y", 1, NULL, NULL));
	if (stage->guest.socket)
		assert_done_or_nomem(net_socket_pipe(stage->guest.socket, socket));
	story_run_ready(&stage->story);
	if (stage->client.socket && !net_socket_pending(stage->client.socket))
		assert_done_or_nomem(
			net_socket_end(stage->client.socket, "z", 1, actor_done, &stage->client));
	assert_done_or_nomem(
		net_server_get_connections(stage->host.server, host_counted, &stage->host));
}

static void play(struct stage *stage, bool by_path)
{
	int r = open_host(stage, by_path);

	assert_done_or_nomem(r);
	if (!stage->host.server)
		return;
	story_run_ready(&stage->story);
	if (!net_server_listening(stage->host.server))
		return;

	assert_done_or_nomem(open_client(stage, by_path));
	if (!stage->client.socket)
		return;
	story_run_ready(&stage->story);
	if (stage->client.socket && !net_socket_pending(stage->client.socket))
		talk(stage);
	story_run_ready(&stage->story);
	assert_done_or_nomem(net_server_close(stage->host.server, host_done, &stage->host));
}

/* Returns whether an allocation failed: else there are no more of them. */
static bool play_with_failure(int number, bool by_path)
{
	struct stage *stage;
	void *state;

	assert_int_equal(stage_set(&state), 0);
	stage = state;
	until_failure = number;
	failed = false;
	counting = true;
	play(stage, by_path);
	counting = false;
	assert_int_equal(stage_clear(&state), 0);
	return failed;
}

static void every_allocation_may_fail(void **state)
{
	for (int by_path = 0; by_path < 2; by_path++) {
		int number = 0;

		while (play_with_failure(number, by_path))
			number++;
		assert_in_range(number, 10, 200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
