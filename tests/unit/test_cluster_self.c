/* A worker of <usher/cluster.h> whose master the test plays, to end it when that is worst. A
 * process is a worker once, so there is one test. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/cluster/cluster.h"
#include "common/cluster/cluster_settings.h"
#include "common/cluster/handoff.h"
#include "common/cluster/source.h"
#include "common/macros.h"
#include "common/net/net.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/story.h"
#include "tests/helpers/wait.h"

struct scene {
	struct story story;
	struct channel master;
	struct handoff handoff;
	struct source source;
	struct cluster_worker *self;
	struct net_server *server;
	int client;
};

/* --- the master ------------------------------------------------------------------------------ */

/* The worker's servers get their connections accepted. */
static void let_listen(struct scene *s, const struct ipc_listen *asked)
{
	const struct ipc_listened_apart body = {
		.request = asked->request,
		.listener = s->source.id,
	};
	struct sockaddr_in any = {.sin_family = AF_INET};
	struct ipc_peer address = {.size = sizeof(any)};

	memcpy(address.address, &any, sizeof(any));
	assert_int_equal(channel_send(&s->master, IPC_LISTENED_APART, &body, &address, 1, NULL), 0);
}

static void hand_over_one(struct scene *s)
{
	struct transit *transit = calloc(1, sizeof(*transit));
	struct transit_list refused = TAILQ_HEAD_INITIALIZER(refused);
	int ends[2];

	assert_non_null(transit);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends),
			 0);
	transit->fd = ends[0];
	transit->source = &s->source;
	transit->peer.sa.sa_family = AF_UNIX;
	transit->peer.len = sizeof(transit->peer.sa.sa_family);
	s->client = ends[1];
	handoff_add(&s->handoff, transit);
	assert_int_equal(handoff_send(&s->handoff, &s->master, now_ms(), &refused), 0);
	assert_true(TAILQ_EMPTY(&refused));
}

static void on_master_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct scene *s = ctx;

	if (message->type == IPC_LISTEN)
		let_listen(s, message->body);
	if (message->type != IPC_LEAVING)
		return;
	/* Before it has heard that the worker leaves, it hands one over, and dies. */
	hand_over_one(s);
	channel_close(channel);
}

static void on_master_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	fail_msg("the worker has closed its channel: %s", why);
}

static const struct channel_ops master_ops = {.on_message = on_master_message,
					      .on_lost = on_master_lost};

/* --- the worker ------------------------------------------------------------------------------ */

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	struct scene *s = ctx;

	story_tell(&s->story, "connection");
	net_socket_destroy(socket, 0);
	net_server_free(server);
	cluster_worker_release(s->self);
}

static void on_listening(struct net_server *server, void *ctx)
{
	struct scene *s = ctx;

	story_tell(&s->story, "listening");
	cluster_worker_hold(s->self);
	assert_int_equal(cluster_worker_disconnect(s->self), 0);
}

static void on_disconnect(struct cluster_worker *worker, void *ctx)
{
	struct scene *s = ctx;

	story_tell(&s->story, "disconnect");
}

static void be_a_worker(struct scene *s)
{
	static const struct cluster_worker_ops ops = {.on_disconnect = on_disconnect};
	char number[16];
	int ends[2], claims;

	assert_int_equal(channel_pair(ends), 0);
	assert_int_equal(
		channel_open(&s->master, s->story.loop, ends[0], IPC_SUPERVISOR, &master_ops, s),
		0);
	snprintf(number, sizeof(number), "%d", ends[1]);
	setenv(IPC_CHANNEL_VARIABLE, number, 1);
	setenv(CLUSTER_ID_VARIABLE, "1", 1);
	assert_int_equal(cluster_worker_open(s->story.loop, &ops, s, &s->self), 0);
	assert_int_equal(handoff_open(&s->handoff, &claims), 0);
	assert_int_equal(channel_send(&s->master, IPC_CLAIMS, NULL, NULL, 0, &claims), 0);
	close_fd(claims);
}

static void serve(struct scene *s)
{
	static const struct net_server_ops ops = {.on_listening = on_listening,
						  .on_connection = on_connection};
	int r = net_create_server(s->story.loop, NULL, &ops, s, &s->server);

	if (r == 0)
		r = net_server_listen_port(s->server, 0, NULL, 0, NULL, NULL);
	assert_int_equal(r, 0);
}

/* DF-7: who is free to go when the connection has come is looked at by nobody any more. */
static void what_a_master_handed_over_before_it_died_is_served(void **state)
{
	struct scene s = {.source = {.id = IPC_SHARE_FIRST, .fd = -1}, .client = -1};
	size_t fds = open_fd_count();
	char byte;

	story_begin(&s.story);
	handoff_init(&s.handoff);
	be_a_worker(&s);
	serve(&s);
	story_run_until(&s.story, "disconnect");
	assert_string_equal(s.story.text, "listening connection disconnect ");
	handoff_done(&s.handoff);
	assert_int_equal(recv(s.client, &byte, 1, MSG_DONTWAIT), 0);
	close_fd(s.client);
	story_run_ready(&s.story);
	story_end(&s.story);
	assert_int_equal(open_fd_count(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_master_handed_over_before_it_died_is_served),
	};

	watchdog(60);
	return cmocka_run_group_tests_name("cluster self", tests, NULL, NULL);
}
