#include "daemon/count.h"

#include <string.h>

#include "common/macros.h"

struct answer {
	struct count_row row;
	bool complete;
	bool gone;
};

struct count_query {
	LIST_ENTRY(count_query) link;
	struct counter *counter;
	uint32_t request;
	ev_timer timer; /* the deadline; already over when nobody is left to wait for */
	count_fn *done;
	void *ctx;
	size_t n_answers;
	struct answer *answers;
	struct count_row *rows; /* the result */
	uint32_t *connections;  /* of all rows */
};

static void query_free(struct count_query *query)
{
	if (!query)
		return;
	free(query->answers);
	free(query->rows);
	free(query->connections);
	free(query);
}

/* The figure that an unanswered row shows is what its worker last said. */
static void finish(struct count_query *query)
{
	size_t n_rows = 0;

	LIST_REMOVE(query, link);
	ev_timer_stop(query->counter->loop, &query->timer);

	for (size_t i = 0; i < query->n_answers; i++) {
		struct answer *answer = &query->answers[i];

		if (answer->gone)
			continue;
		answer->row.stale = !answer->complete;
		query->rows[n_rows++] = answer->row;
	}
	query->done(query->rows, n_rows, query->ctx);
	query_free(query);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	finish(CONTAINER_OF(watcher, struct count_query, timer));
}

/* The result is always delivered from the loop. */
static void finish_if_complete(struct count_query *query)
{
	for (size_t i = 0; i < query->n_answers; i++)
		if (!query->answers[i].complete && !query->answers[i].gone)
			return;
	ev_timer_stop(query->counter->loop, &query->timer);
	ev_timer_set(&query->timer, 0, 0);
	ev_timer_start(query->counter->loop, &query->timer);
}

void counter_init(struct counter *counter, struct ev_loop *loop, const struct child_list *children,
		  size_t n_listeners)
{
	*counter = (struct counter){.loop = loop, .children = children, .n_listeners = n_listeners};
	LIST_INIT(&counter->queries);
}

void counter_done(struct counter *counter)
{
	struct count_query *query, *next;

	for (query = LIST_FIRST(&counter->queries); query; query = next) {
		next = LIST_NEXT(query, link);
		finish(query);
	}
}

static int query_new(struct counter *counter, count_fn *done, void *ctx, struct count_query **ret)
{
	struct count_query *query = calloc(1, sizeof(*query));
	const struct child *child;
	size_t n_children = 0;

	if (!query)
		return -ENOMEM;
	TAILQ_FOREACH (child, counter->children, link)
		n_children++;

	query->answers = calloc(n_children + 1, sizeof(*query->answers));
	query->rows = calloc(n_children + 1, sizeof(*query->rows));
	query->connections = calloc(n_children * counter->n_listeners + 1,
				    sizeof(*query->connections));
	if (!query->answers || !query->rows || !query->connections) {
		query_free(query);
		return -ENOMEM;
	}
	query->counter = counter;
	query->request = ++counter->last_request;
	query->done = done;
	query->ctx = ctx;
	*ret = query;
	return 0;
}

static void ask(struct count_query *query, struct child *child)
{
	struct counter *counter = query->counter;
	struct ipc_count question = {query->request};
	struct answer *answer = &query->answers[query->n_answers];

	answer->row = (struct count_row){
		.worker = child->id,
		.slot = child->slot,
		.pid = child->process.pid,
		.state = child->state,
		.connections = query->connections + query->n_answers * counter->n_listeners,
	};
	for (size_t i = 0; i < counter->n_listeners; i++)
		answer->row.connections[i] = taker_connections(&child->taker, (uint32_t)i);
	handoff_count(&child->taker.handoff, answer->row.connections, counter->n_listeners);

	/* A channel that takes no question makes a row of the last known figures. */
	if (child_send(child, IPC_COUNT, &question, NULL, 0, NULL) == -EPIPE)
		answer->gone = true;
	query->n_answers++;
}

int count_start(struct counter *counter, count_fn *done, void *ctx)
{
	struct count_query *query;
	struct child *child;
	int error = query_new(counter, done, ctx, &query);

	if (error < 0)
		return error;

	TAILQ_FOREACH (child, counter->children, link)
		if (child->process.pid > 0)
			ask(query, child);

	LIST_INSERT_HEAD(&counter->queries, query, link);
	ev_timer_init(&query->timer, on_deadline, COUNT_TIMEOUT_MS / 1000.0, 0);
	ev_now_update(counter->loop);
	ev_timer_start(counter->loop, &query->timer);
	finish_if_complete(query);
	return 0;
}

static struct answer *answer_of(struct count_query *query, const struct child *child)
{
	for (size_t i = 0; i < query->n_answers; i++)
		if (query->answers[i].row.worker == child->id)
			return &query->answers[i];
	return NULL;
}

int count_answer(struct counter *counter, struct child *child, const struct ipc_message *message)
{
	const struct ipc_counted *body = message->body;
	const struct ipc_counted_row *rows = message->tail;
	struct count_query *query;

	for (size_t i = 0; i < message->tail_count; i++) {
		if (rows[i].listener >= counter->n_listeners)
			return -EPROTO;
		taker_set_connections(&child->taker, rows[i].listener, rows[i].connections);
	}

	LIST_FOREACH (query, &counter->queries, link) {
		struct answer *answer = answer_of(query, child);

		if (query->request != body->request || !answer)
			continue;
		for (size_t i = 0; i < message->tail_count; i++)
			answer->row.connections[rows[i].listener] = rows[i].connections;
		if (body->last) {
			answer->complete = true;
			finish_if_complete(query);
		}
		return 0;
	}
	return 0; /* it came too late */
}

void count_forget(struct counter *counter, const struct child *child)
{
	struct count_query *query;

	LIST_FOREACH (query, &counter->queries, link) {
		struct answer *answer = answer_of(query, child);

		if (answer && !answer->gone) {
			answer->gone = true;
			finish_if_complete(query);
		}
	}
}
