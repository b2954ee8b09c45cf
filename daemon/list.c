#include "daemon/list.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "common/cluster/shares.h"
#include "common/ipc/wide.h"
#include "common/macros.h"

struct list_query {
	LIST_ENTRY(list_query) link;
	struct lister *lister;
	unsigned int worker;
	uint32_t request;
	uint32_t listener;
	uint64_t before_us;
	ev_timer timer; /* the deadline; already over when the worker has gone */
	bool gone;
	list_fn *done;
	void *ctx;
};

static void finish(struct list_query *query, const struct list_page *page)
{
	LIST_REMOVE(query, link);
	ev_timer_stop(query->lister->loop, &query->timer);
	query->done(page, query->ctx);
	free(query);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct list_query *query = CONTAINER_OF(watcher, struct list_query, timer);

	finish(query, &(struct list_page){.end = query->gone ? LIST_GONE : LIST_LATE});
}

void lister_init(struct lister *lister, struct ev_loop *loop, size_t n_listeners)
{
	*lister = (struct lister){.loop = loop, .n_listeners = n_listeners};
	LIST_INIT(&lister->queries);
}

void lister_done(struct lister *lister)
{
	struct list_query *query;

	while ((query = LIST_FIRST(&lister->queries)))
		finish(query, &(struct list_page){.end = LIST_LATE});
}

int list_start(struct lister *lister, struct child *child, uint32_t listener, uint64_t before_us,
	       list_fn *done, void *ctx)
{
	struct ipc_list question = {.request = ++lister->last_request, .listener = listener};
	struct list_query *query = malloc(sizeof(*query));

	if (!query)
		return -ENOMEM;
	wide_put(question.before_us, before_us);

	int error = child_send(child, IPC_LIST, &question, NULL, 0, NULL);
	if (error < 0) {
		free(query);
		return error;
	}
	*query = (struct list_query){
		.lister = lister,
		.worker = child->id,
		.request = question.request,
		.listener = listener,
		.before_us = before_us,
		.done = done,
		.ctx = ctx,
	};
	LIST_INSERT_HEAD(&lister->queries, query, link);
	ev_timer_init(&query->timer, on_deadline, LIST_TIMEOUT_MS / 1000.0, 0);
	ev_now_update(lister->loop);
	ev_timer_start(lister->loop, &query->timer);
	return 0;
}

/* --- answers -------------------------------------------------------------------------------- */

/* JSON has no larger ones. */
static bool is_number(const uint32_t field[2])
{
	return wide_get(field) <= INT64_MAX;
}

/* What its programs listen on it must have of us. */
static bool is_listener(const struct lister *lister, const struct child *child, uint32_t listener)
{
	return listener >= IPC_SHARE_FIRST ? shares_of(&child->holder, listener) != NULL
					   : listener < lister->n_listeners;
}

static bool is_sound(const struct lister *lister, const struct child *child,
		     const struct ipc_listed_row *row)
{
	return is_listener(lister, child, row->listener) && is_number(row->accepted_us) &&
	       wide_get(row->accepted_us) > 0 && is_number(row->bytes_read) &&
	       is_number(row->bytes_written) &&
	       (row->family == AF_UNIX ||
		(row->port <= UINT16_MAX && (row->family == AF_INET || row->family == AF_INET6)));
}

/* Each is older than the one before it, so that a list comes to its end. */
static bool is_answer(const struct list_query *query, const struct ipc_message *message)
{
	const struct ipc_listed_row *rows = message->tail;
	uint64_t before_us = query->before_us > 0 ? query->before_us : UINT64_MAX;

	for (size_t i = 0; i < message->tail_count; i++) {
		uint64_t accepted_us = wide_get(rows[i].accepted_us);

		if (accepted_us >= before_us)
			return false;
		if (query->listener != IPC_LISTENERS_ALL && rows[i].listener != query->listener)
			return false;
		before_us = accepted_us;
	}
	return true;
}

static struct list_query *find(const struct lister *lister, const struct child *child,
			       uint32_t request)
{
	struct list_query *query;

	LIST_FOREACH (query, &lister->queries, link)
		if (query->request == request && query->worker == child->id)
			return query;
	return NULL;
}

int list_answer(struct lister *lister, const struct child *child, const struct ipc_message *message)
{
	const struct ipc_listed *body = message->body;
	const struct ipc_listed_row *rows = message->tail;
	struct list_query *query = find(lister, child, body->request);
	struct list_page page = {.rows = rows, .n_rows = message->tail_count};

	if (message->tail_count > IPC_LISTED_MAX || (body->more && message->tail_count == 0))
		return -EPROTO;
	for (size_t i = 0; i < message->tail_count; i++)
		if (!is_sound(lister, child, &rows[i]))
			return -EPROTO;
	if (!query)
		return 0; /* it came too late */
	if (!is_answer(query, message))
		return -EPROTO;
	if (body->more)
		page.next_us = wide_get(rows[page.n_rows - 1].accepted_us);
	finish(query, &page);
	return 0;
}

/* The result is always delivered from the loop. */
void list_forget(struct lister *lister, const struct child *child)
{
	struct list_query *query;

	LIST_FOREACH (query, &lister->queries, link) {
		if (query->worker != child->id || query->gone)
			continue;
		query->gone = true;
		ev_timer_stop(lister->loop, &query->timer);
		ev_timer_set(&query->timer, 0, 0);
		ev_timer_start(lister->loop, &query->timer);
	}
}
