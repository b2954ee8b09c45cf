#include "common/cluster/tracking.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cluster/tracking_guests.h"
#include "common/cluster/tracking_parts.h"
#include "common/cluster/tracking_query.h"
#include "common/ipc/wide.h"
#include "common/macros.h"

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

int tracking_send_question(struct tracking *t, enum ipc_type type, uint64_t key,
			   uint32_t *ret_request)
{
	struct ipc_sockets body = {.request = next_request(t)};
	int r;

	wide_put(body.key, key);
	r = channel_send(t->channel, type, &body, NULL, 0, NULL);
	if (r == 0)
		*ret_request = body.request;
	return r;
}

/* --- are there none? ------------------------------------------------------------------------- */

static bool remote_close(struct server_remote *base)
{
	struct tracking_remote *remote = CONTAINER_OF(base, struct tracking_remote, base);
	struct tracking_row *row;
	bool none = true;

	LIST_FOREACH (row, &remote->rows, in_remote) {
		if (row->known + row->in_transit == 0)
			continue;
		none = false;
		/* What is in transit is asked for when it has arrived. A channel that takes nothing
		 * now is tried again when it has room. */
		if (row->known > 0 && row->close_request == 0)
			tracking_send_question(row->tracking, IPC_SOCKETS_CLOSE, remote->key,
					       &row->close_request);
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
	tracking_query_forget(row);
	LIST_REMOVE(row, in_remote);
	LIST_REMOVE(row, in_tracking);
	free(row);
}

static void remote_free(struct server_remote *base)
{
	struct tracking_remote *remote = CONTAINER_OF(base, struct tracking_remote, base);
	struct tracking_row *row;

	tracking_query_end(remote);
	while ((row = LIST_FIRST(&remote->rows)))
		row_free(row);
	free(remote);
}

static int remote_count(struct server_remote *base, server_counted_fn *fn, void *arg)
{
	return tracking_query_start(CONTAINER_OF(base, struct tracking_remote, base), fn, arg);
}

static int remote_of(struct net_server *server, struct tracking_remote **ret)
{
	static uint64_t last_key;
	struct tracking_remote *remote;

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
	*ret = CONTAINER_OF(server->remote, struct tracking_remote, base);
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
	struct tracking_remote *remote;
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

/* --- both ------------------------------------------------------------------------------------ */

int tracking_take(struct tracking *t, const struct ipc_message *message, const char **ret_why)
{
	int r = 0;

	if (message->type == IPC_SOCKETS_COUNTED)
		return tracking_query_answered(t, message->body, ret_why);
	if (message->type == IPC_SOCKETS_CLOSED)
		return on_closed(t, message->body);
	if (message->type == IPC_SOCKETS_COUNT)
		r = tracking_guests_count(t, message->body);
	else if (message->type == IPC_SOCKETS_CLOSE)
		r = tracking_guests_close(t, message->body);

	*ret_why = "it takes no answers";
	return r;
}

void tracking_drained(struct tracking *t)
{
	struct tracking_row *row;

	tracking_guests_drained(t);
	LIST_FOREACH (row, &t->rows, in_tracking)
		if (row->known > 0 && row->close_request == 0)
			server_remote_ended(row->remote->server);
}

void tracking_close(struct tracking *t)
{
	struct tracking_row *row;

	tracking_guests_end(t);
	while ((row = LIST_FIRST(&t->rows))) {
		struct net_server *server = row->remote->server;

		row_free(row);
		server_remote_ended(server);
	}
	t->channel = NULL;
}
