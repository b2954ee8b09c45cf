#include "common/cluster/tracking.h"

#include <errno.h>
#include <stdlib.h>

#include "common/ipc/wide.h"
#include "common/macros.h"
#include "common/net/server.h"

/* A server of ours, some of whose sockets are elsewhere. */
struct remote {
	struct server_remote base;
	struct net_server *server;
	uint64_t key;
	LIST_HEAD(, tracking_row) rows;
	LIST_HEAD(, query) queries;
};

/* A server of ours and a process that received sockets of it. */
struct tracking_row {
	LIST_ENTRY(tracking_row) in_remote;
	LIST_ENTRY(tracking_row) in_tracking;
	struct remote *remote;
	struct tracking *tracking;
	size_t known;           /* it has no more than these */
	size_t in_transit;      /* sent, and not yet answered */
	uint32_t close_request; /* it was asked to tell when it has none; 0: it was not */
};

/* A net_server_get_connections() that waits for answers. */
struct query {
	LIST_ENTRY(query) link;
	LIST_HEAD(, tracking_ask) asks;
	struct remote *remote; /* NULL: the server is gone, and was answered */
	struct net_context *context;
	server_counted_fn *fn;
	void *arg;
	ev_timer deadline;
	struct defer call;
};

/* One question of it, to one process. */
struct tracking_ask {
	LIST_ENTRY(tracking_ask) in_query;
	LIST_ENTRY(tracking_ask) in_tracking;
	struct query *query;
	struct tracking_row *row;
	uint32_t request;
};

/* What came of one server of the other process's. */
struct tracking_guests {
	LIST_ENTRY(tracking_guests) link;
	struct tracking *tracking;
	uint64_t key;
	struct net_server *server; /* stands in for that one; NULL: all have ended */
	uint32_t close_request;    /* to be answered when they have; 0: nobody asked */
};

void tracking_init(struct tracking *t, struct channel *channel, struct net_context *context)
{
	*t = (struct tracking){.channel = channel, .context = context};
	LIST_INIT(&t->rows);
	LIST_INIT(&t->asks);
	LIST_INIT(&t->guests);
}

/* 0 stays free for "none". */
static uint32_t next_request(struct tracking *t)
{
	if (++t->last_request == 0)
		t->last_request = 1;
	return t->last_request;
}

static int ask(struct tracking *t, enum ipc_type type, uint64_t key, uint32_t *ret_request)
{
	struct ipc_sockets body = {.request = next_request(t)};
	int r;

	wide_put(body.key, key);
	r = channel_send(t->channel, type, &body, NULL, 0, NULL);
	if (r == 0)
		*ret_request = body.request;
	return r;
}

/* --- how many? ------------------------------------------------------------------------------- */

static size_t sum(const struct remote *remote)
{
	const struct tracking_row *row;
	size_t total = 0;

	LIST_FOREACH (row, &remote->rows, in_remote)
		total += row->known + row->in_transit;
	return total;
}

static void query_free(struct query *query)
{
	struct net_context *context = query->context;

	free(query);
	context_put(context);
}

static void on_query_turn(struct defer *call)
{
	struct query *query = CONTAINER_OF(call, struct query, call);

	if (query->remote) {
		LIST_REMOVE(query, link);
		query->fn(sum(query->remote), query->arg);
	}
	query_free(query);
}

static void ask_free(struct tracking_ask *a)
{
	LIST_REMOVE(a, in_query);
	LIST_REMOVE(a, in_tracking);
	free(a);
}

/* Asks no more; what is known by then is the answer. */
static void query_finish(struct query *query)
{
	struct tracking_ask *a;

	while ((a = LIST_FIRST(&query->asks)))
		ask_free(a);
	ev_timer_stop(query->context->loop, &query->deadline);
	if (!defer_waits(&query->call))
		defer_call(&query->context->calls, &query->call, on_query_turn);
}

static void finish_if_answered(struct query *query)
{
	if (LIST_EMPTY(&query->asks))
		query_finish(query);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	query_finish(CONTAINER_OF(timer, struct query, deadline));
}

/* A process that takes no question now counts with what is known of it. One that has gone is waited
 * for until that is told. */
static int query_ask(struct query *query, struct tracking_row *row)
{
	struct tracking_ask *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	r = ask(row->tracking, IPC_SOCKETS_COUNT, row->remote->key, &a->request);
	if (r < 0 && r != -EPIPE) {
		free(a);
		return 0;
	}
	a->query = query;
	a->row = row;
	LIST_INSERT_HEAD(&query->asks, a, in_query);
	LIST_INSERT_HEAD(&row->tracking->asks, a, in_tracking);
	return 0;
}

static int remote_count(struct server_remote *base, server_counted_fn *fn, void *arg)
{
	struct remote *remote = CONTAINER_OF(base, struct remote, base);
	struct net_context *context = remote->server->context;
	struct query *query = calloc(1, sizeof(*query));
	struct tracking_row *row;
	int r = query ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	*query = (struct query){.context = context, .fn = fn, .arg = arg};
	LIST_INIT(&query->asks);
	context_hold(context);
	ev_timer_init(&query->deadline, on_deadline, TRACKING_DEADLINE_MS / 1e3, 0.);

	LIST_FOREACH (row, &remote->rows, in_remote)
		if (r == 0 && row->known > 0)
			r = query_ask(query, row);
	if (r < 0) {
		query_finish(query);
		return r;
	}

	query->remote = remote;
	LIST_INSERT_HEAD(&remote->queries, query, link);
	ev_now_update(context->loop);
	ev_timer_start(context->loop, &query->deadline);
	finish_if_answered(query);
	return 0;
}

static int on_counted(struct tracking *t, const struct ipc_sockets_counted *body,
		      const char **ret_why)
{
	struct tracking_row *row;
	struct tracking_ask *a;

	LIST_FOREACH (a, &t->asks, in_tracking)
		if (a->request == body->request && body->request != 0)
			break;
	if (!a)
		return 0;

	row = a->row;
	if (body->count > row->known) {
		*ret_why = "it counts more sockets than it was sent";
		return -EPROTO;
	}
	row->known = body->count;

	struct query *query = a->query;
	ask_free(a);
	finish_if_answered(query);
	server_remote_ended(row->remote->server);
	return 0;
}

/* --- are there none? ------------------------------------------------------------------------- */

static bool remote_close(struct server_remote *base)
{
	struct remote *remote = CONTAINER_OF(base, struct remote, base);
	struct tracking_row *row;
	bool none = true;

	LIST_FOREACH (row, &remote->rows, in_remote) {
		if (row->known + row->in_transit == 0)
			continue;
		none = false;
		/* What is in transit is asked for when it has arrived. A channel that takes nothing
		 * now is tried again when it has room. */
		if (row->known > 0 && row->close_request == 0)
			ask(row->tracking, IPC_SOCKETS_CLOSE, remote->key, &row->close_request);
	}
	return none;
}

static int on_closed(struct tracking *t, const struct ipc_sockets_closed *body)
{
	struct tracking_row *row;

	LIST_FOREACH (row, &t->rows, in_tracking)
		if (row->close_request == body->request && body->request != 0)
			break;
	if (!row)
		return 0;

	row->close_request = 0;
	row->known = 0;
	server_remote_ended(row->remote->server);
	return 0;
}

/* --- a server and its rows ------------------------------------------------------------------- */

static void row_free(struct tracking_row *row)
{
	struct tracking_ask *a, *next;

	for (a = LIST_FIRST(&row->tracking->asks); a; a = next) {
		struct query *query = a->query;

		next = LIST_NEXT(a, in_tracking);
		if (a->row != row)
			continue;
		ask_free(a);
		finish_if_answered(query);
	}
	LIST_REMOVE(row, in_remote);
	LIST_REMOVE(row, in_tracking);
	free(row);
}

/* Whoever asked is answered at once: his server is gone, and he is told nothing. */
static void remote_free(struct server_remote *base)
{
	struct remote *remote = CONTAINER_OF(base, struct remote, base);
	struct tracking_row *row;
	struct query *query;

	while ((query = LIST_FIRST(&remote->queries))) {
		LIST_REMOVE(query, link);
		query->remote = NULL;
		query->fn(0, query->arg);
		query_finish(query);
	}
	while ((row = LIST_FIRST(&remote->rows)))
		row_free(row);
	free(remote);
}

static int remote_of(struct net_server *server, struct remote **ret)
{
	static uint64_t last_key;
	struct remote *remote;

	if (!server->remote) {
		remote = calloc(1, sizeof(*remote));
		if (!remote)
			return -ENOMEM;
		remote->base = (struct server_remote){remote_count, remote_close, remote_free};
		remote->server = server;
		/* Loops in other threads have servers, too. */
		remote->key = __atomic_add_fetch(&last_key, 1, __ATOMIC_RELAXED);
		LIST_INIT(&remote->rows);
		LIST_INIT(&remote->queries);
		server->remote = &remote->base;
	}
	*ret = CONTAINER_OF(server->remote, struct remote, base);
	return 0;
}

static struct tracking_row *find_row(struct tracking *t, uint64_t key)
{
	struct tracking_row *row;

	LIST_FOREACH (row, &t->rows, in_tracking)
		if (row->remote->key == key)
			return row;
	return NULL;
}

int tracking_prepare(struct tracking *t, struct net_server *server, uint64_t *ret_key)
{
	struct tracking_row *row;
	struct remote *remote;
	int r = remote_of(server, &remote);

	if (r < 0)
		return r;
	*ret_key = remote->key;
	if (find_row(t, remote->key))
		return 0;

	row = calloc(1, sizeof(*row));
	if (!row)
		return -ENOMEM;
	row->remote = remote;
	row->tracking = t;
	LIST_INSERT_HEAD(&remote->rows, row, in_remote);
	LIST_INSERT_HEAD(&t->rows, row, in_tracking);
	return 0;
}

void tracking_sent(struct tracking *t, uint64_t key)
{
	struct tracking_row *row = find_row(t, key);

	if (row)
		row->in_transit++;
}

void tracking_answered(struct tracking *t, uint64_t key, bool has_arrived)
{
	struct tracking_row *row = find_row(t, key);

	if (!row)
		return;
	row->in_transit--;
	row->known += has_arrived;
	server_remote_ended(row->remote->server);
}

/* --- what came ------------------------------------------------------------------------------- */

static void guests_free(struct tracking_guests *guests)
{
	LIST_REMOVE(guests, link);
	net_server_free(guests->server);
	free(guests);
}

static int say_closed(struct tracking *t, uint32_t request)
{
	const struct ipc_sockets_closed body = {.request = request};

	return channel_send(t->channel, IPC_SOCKETS_CLOSED, &body, NULL, 0, NULL);
}

/* What a full channel does not take now is said when it has room. */
static void say_and_free(struct tracking_guests *guests)
{
	struct tracking *t = guests->tracking;

	if (guests->close_request != 0 && say_closed(t, guests->close_request) == -ENOBUFS)
		return;
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

static int on_count(struct tracking *t, const struct ipc_sockets *body)
{
	struct tracking_guests *guests = find_guests(t, wide_get(body->key));
	const struct ipc_sockets_counted answer = {
		.request = body->request,
		.count = guests && guests->server ? (uint32_t)net_server_connections(guests->server)
						  : 0,
	};

	return channel_send(t->channel, IPC_SOCKETS_COUNTED, &answer, NULL, 0, NULL);
}

static int on_close(struct tracking *t, const struct ipc_sockets *body)
{
	struct tracking_guests *guests = find_guests(t, wide_get(body->key));

	if (!guests)
		return say_closed(t, body->request);
	guests->close_request = body->request;
	return 0;
}

/* --- both ------------------------------------------------------------------------------------ */

int tracking_take(struct tracking *t, const struct ipc_message *message, const char **ret_why)
{
	int r = 0;

	if (message->type == IPC_SOCKETS_COUNTED)
		return on_counted(t, message->body, ret_why);
	if (message->type == IPC_SOCKETS_CLOSED)
		return on_closed(t, message->body);
	if (message->type == IPC_SOCKETS_COUNT)
		r = on_count(t, message->body);
	else if (message->type == IPC_SOCKETS_CLOSE)
		r = on_close(t, message->body);

	/* One that is closed is told by its reading side. */
	*ret_why = "it takes no answers";
	return r == -EPIPE ? 0 : r;
}

void tracking_drained(struct tracking *t)
{
	struct tracking_guests *guests, *next;
	struct tracking_row *row;

	for (guests = LIST_FIRST(&t->guests); guests; guests = next) {
		next = LIST_NEXT(guests, link);
		if (!guests->server)
			say_and_free(guests);
	}
	LIST_FOREACH (row, &t->rows, in_tracking)
		if (row->known > 0 && row->close_request == 0)
			server_remote_ended(row->remote->server);
}

void tracking_close(struct tracking *t)
{
	struct tracking_guests *guests;
	struct tracking_row *row;

	while ((guests = LIST_FIRST(&t->guests)))
		guests_free(guests);
	while ((row = LIST_FIRST(&t->rows))) {
		struct net_server *server = row->remote->server;

		row_free(row);
		server_remote_ended(server);
	}
	t->channel = NULL;
}
