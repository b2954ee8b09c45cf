#include "common/cluster/tracking_guests.h"

#include <errno.h>
#include <stdlib.h>

#include "common/ipc/wide.h"
#include "common/net/server.h"

/* What came of one server of the other process's. */
struct tracking_guests {
	LIST_ENTRY(tracking_guests) link;
	struct tracking *tracking;
	uint64_t key;
	struct net_server *server; /* stands in for that one; NULL: all have ended */
	uint32_t close_request;    /* to be answered when they have; 0: nobody asked */
};

static void guests_free(struct tracking_guests *guests)
{
	LIST_REMOVE(guests, link);
	net_server_free(guests->server);
	free(guests);
}

static int say_closed(struct tracking *t, uint32_t request)
{
	const struct ipc_sockets_closed body = {.request = request};

	return channel_tell(t->channel, IPC_SOCKETS_CLOSED, &body, NULL, 0, NULL);
}

/* What the channel does not take now is said when it has room, or memory. */
static void say_and_free(struct tracking_guests *guests)
{
	if (guests->close_request == 0 || say_closed(guests->tracking, guests->close_request) == 0)
		guests_free(guests);
}

static void on_guests_ended(struct net_server *server, void *ctx)
{
	struct tracking_guests *guests = ctx;

	guests->server = NULL;
	net_server_free(server);
	say_and_free(guests);
}

static struct tracking_guests *find_guests(struct tracking *t, uint64_t key)
{
	struct tracking_guests *guests;

	LIST_FOREACH (guests, &t->guests, link)
		if (guests->key == key)
			return guests;
	return NULL;
}

static struct tracking_guests *guests_new(struct tracking *t, uint64_t key)
{
	struct tracking_guests *guests = calloc(1, sizeof(*guests));

	if (!guests)
		return NULL;
	guests->tracking = t;
	guests->key = key;
	LIST_INSERT_HEAD(&t->guests, guests, link);
	return guests;
}

static int open_stand_in(struct tracking_guests *guests)
{
	static const struct net_server_ops ops = {.on_close = on_guests_ended};
	struct ev_loop *loop = guests->tracking->context->loop;
	int r = net_create_server(loop, NULL, &ops, guests, &guests->server);

	if (r < 0)
		return r;
	guests->server->stands_in = true;
	return server_open_unbound(guests->server);
}

int tracking_enter(struct tracking *t, uint64_t key, struct net_socket *s)
{
	struct tracking_guests *guests = find_guests(t, key);
	bool is_first;
	int r = 0;

	if (!guests)
		guests = guests_new(t, key);
	if (!guests)
		return -ENOMEM;
	is_first = !guests->server;
	if (is_first)
		r = open_stand_in(guests);
	if (r < 0) {
		if (guests->close_request == 0)
			guests_free(guests);
		return r;
	}

	server_enter(guests->server, s);
	/* It never accepts: closed from the start, it ends with the last that came. */
	if (is_first)
		net_server_close(guests->server, NULL, NULL);
	return 0;
}

int tracking_guests_count(struct tracking *t, const struct ipc_sockets *body)
{
	struct tracking_guests *guests = find_guests(t, wide_get(body->key));
	const struct ipc_sockets_counted answer = {
		.request = body->request,
		.count = guests && guests->server ? (uint32_t)net_server_connections(guests->server)
						  : 0,
	};

	return channel_tell(t->channel, IPC_SOCKETS_COUNTED, &answer, NULL, 0, NULL);
}

int tracking_guests_close(struct tracking *t, const struct ipc_sockets *body)
{
	struct tracking_guests *guests = find_guests(t, wide_get(body->key));

	if (!guests)
		return say_closed(t, body->request);
	guests->close_request = body->request;
	return 0;
}

void tracking_guests_drained(struct tracking *t)
{
	struct tracking_guests *guests, *next;

	for (guests = LIST_FIRST(&t->guests); guests; guests = next) {
		next = LIST_NEXT(guests, link);
		if (!guests->server)
			say_and_free(guests);
	}
}

void tracking_guests_end(struct tracking *t)
{
	struct tracking_guests *guests;

	while ((guests = LIST_FIRST(&t->guests)))
		guests_free(guests);
}
