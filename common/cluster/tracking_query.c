#include "common/cluster/tracking_query.h"

#include <errno.h>
#include <stdlib.h>

#include "common/macros.h"

/* A net_server_get_connections() that waits for answers. */
struct tracking_query {
	LIST_ENTRY(tracking_query) link;
	LIST_HEAD(, tracking_ask) asks;
	struct tracking_remote *remote; /* NULL: the server is gone, and was answered */
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
	struct tracking_query *query;
	struct tracking_row *row;
	uint32_t request;
};

static size_t sum(const struct tracking_remote *remote)
{
	const struct tracking_row *row;
	size_t total = 0;

	LIST_FOREACH (row, &remote->rows, in_remote)
		total += row->known + row->in_transit;
	return total;
}

static void query_free(struct tracking_query *query)
{
	struct net_context *context = query->context;

	free(query);
	context_put(context);
}

static void on_query_turn(struct defer *call)
{
	struct tracking_query *query = CONTAINER_OF(call, struct tracking_query, call);

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
static void query_finish(struct tracking_query *query)
{
	struct tracking_ask *a;

	while ((a = LIST_FIRST(&query->asks)))
		ask_free(a);
	ev_timer_stop(query->context->loop, &query->deadline);
	if (!defer_waits(&query->call))
		defer_call(&query->context->calls, &query->call, on_query_turn);
}

static void finish_if_answered(struct tracking_query *query)
{
	if (LIST_EMPTY(&query->asks))
		query_finish(query);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	query_finish(CONTAINER_OF(timer, struct tracking_query, deadline));
}

/* A process that takes no question now counts with what is known of it. One that has gone is waited
 * for until that is told. */
static int query_ask(struct tracking_query *query, struct tracking_row *row)
{
	struct tracking_ask *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	r = tracking_send_question(row->tracking, IPC_SOCKETS_COUNT, row->remote->key, &a->request);
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

int tracking_query_start(struct tracking_remote *remote, server_counted_fn *fn, void *arg)
{
	struct net_context *context = remote->server->context;
	struct tracking_query *query = calloc(1, sizeof(*query));
	struct tracking_row *row;
	int r = query ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	*query = (struct tracking_query){.context = context, .fn = fn, .arg = arg};
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

int tracking_query_answered(struct tracking *t, const struct ipc_sockets_counted *body,
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

	struct tracking_query *query = a->query;
	ask_free(a);
	finish_if_answered(query);
	server_remote_ended(row->remote->server);
	return 0;
}

void tracking_query_forget(struct tracking_row *row)
{
	struct tracking_ask *a, *next;

	for (a = LIST_FIRST(&row->tracking->asks); a; a = next) {
		struct tracking_query *query = a->query;

		next = LIST_NEXT(a, in_tracking);
		if (a->row != row)
			continue;
		ask_free(a);
		finish_if_answered(query);
	}
}

void tracking_query_end(struct tracking_remote *remote)
{
	struct tracking_query *query;

	while ((query = LIST_FIRST(&remote->queries))) {
		LIST_REMOVE(query, link);
		query->remote = NULL;
		query->fn(0, query->arg);
		query_finish(query);
	}
}
