#include "daemon/count.h"

#include <string.h>

#include "common/cluster/shares.h"
#include "common/macros.h"

struct answer {
	struct count_row row; /* what is known without an answer, until there is one */
	uint32_t *counted;    /* what it answered so far, by listener */
	uint32_t *returned;   /* of what was on its way when it was asked: what came back since */
	uint32_t last;        /* number of the last that was */
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
	uint32_t *numbers;      /* of all rows and answers */
	uint32_t *waiting;
};

static void query_free(struct count_query *query)
{
	if (!query)
		return;
	free(query->answers);
	free(query->rows);
	free(query->numbers);
	free(query);
}

static void add(const struct counter *counter, uint32_t *sums, const uint32_t *counts)
{
	for (size_t i = 0; i < counter->n_listeners; i++)
		sums[i] += counts[i];
}

/* The figure that an unanswered row shows is what could be known without its worker, with what was
 * on its way to it, whether or not that came back. */
static void finish(struct count_query *query)
{
	struct count_result result = {.rows = query->rows, .waiting = query->waiting};

	LIST_REMOVE(query, link);
	ev_timer_stop(query->counter->loop, &query->timer);

	for (size_t i = 0; i < query->n_answers; i++) {
		struct answer *answer = &query->answers[i];

		if (answer->gone)
			continue;
		answer->row.stale = !answer->complete;
		if (answer->complete) {
			answer->row.connections = answer->counted;
			add(query->counter, query->waiting, answer->returned);
		}
		query->rows[result.n_rows++] = answer->row;
	}
	query->done(&result, query->ctx);
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
		  const struct dispatcher *dispatcher, size_t n_listeners)
{
	*counter = (struct counter){
		.loop = loop,
		.children = children,
		.dispatcher = dispatcher,
		.n_listeners = n_listeners,
	};
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
	query->numbers = calloc((3 * n_children + 1) * counter->n_listeners + 1,
				sizeof(*query->numbers));
	if (!query->answers || !query->rows || !query->numbers) {
		query_free(query);
		return -ENOMEM;
	}
	query->waiting = query->numbers + 3 * n_children * counter->n_listeners;
	dispatch_count_parked(counter->dispatcher, query->waiting, counter->n_listeners);
	query->counter = counter;
	query->request = ++counter->last_request;
	query->done = done;
	query->ctx = ctx;
	*ret = query;
	return 0;
}

/* Its connections have ended with it, but not those that it had not taken yet. */
static void lose(struct count_query *query, struct answer *answer, const struct child *child)
{
	size_t n_listeners = query->counter->n_listeners;

	answer->gone = true;
	add(query->counter, query->waiting, answer->returned);
	/* What it has been handed since its answer was counted elsewhere. */
	if (!answer->complete)
		transit_count(&child->taker.handoff.transits, query->waiting, n_listeners);
}

static void ask(struct count_query *query, struct child *child)
{
	struct counter *counter = query->counter;
	struct ipc_count question = {query->request};
	struct answer *answer = &query->answers[query->n_answers];
	uint32_t *numbers = query->numbers + 3 * query->n_answers * counter->n_listeners;

	answer->counted = numbers + counter->n_listeners;
	answer->returned = numbers + 2 * counter->n_listeners;
	answer->last = child->taker.handoff.last;
	answer->row = (struct count_row){
		.worker = child->id,
		.slot = child->slot,
		.pid = child->process.pid,
		.state = child->state,
		.connections = numbers,
	};
	taker_count(&child->taker, answer->row.connections, counter->n_listeners);

	/* A channel that takes no question makes a row of the last known figures. */
	if (child_send(child, IPC_COUNT, &question, NULL, 0, NULL) == -EPIPE)
		lose(query, answer, child);
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

/* A listener that the answer has left out has no connections there. */
static void complete(struct count_query *query, struct answer *answer, struct child *child)
{
	for (size_t i = 0; i < query->counter->n_listeners; i++)
		taker_set_connections(&child->taker, (uint32_t)i, answer->counted[i]);
	answer->complete = true;
	finish_if_complete(query);
}

/* What its programs listen on is counted there. */
static int take_row(struct counter *counter, struct child *child, const struct ipc_counted_row *row)
{
	if (row->listener >= IPC_SHARE_FIRST)
		return shares_counted(&child->holder, row);
	if (row->listener >= counter->n_listeners)
		return -EPROTO;
	taker_set_connections(&child->taker, row->listener, row->connections);
	return 0;
}

int count_answer(struct counter *counter, struct child *child, const struct ipc_message *message)
{
	const struct ipc_counted *body = message->body;
	const struct ipc_counted_row *rows = message->tail;
	struct count_query *query;

	for (size_t i = 0; i < message->tail_count; i++)
		if (take_row(counter, child, &rows[i]) < 0)
			return -EPROTO;

	LIST_FOREACH (query, &counter->queries, link) {
		struct answer *answer = answer_of(query, child);

		if (query->request != body->request || !answer)
			continue;
		for (size_t i = 0; i < message->tail_count; i++)
			if (rows[i].listener < counter->n_listeners)
				answer->counted[rows[i].listener] = rows[i].connections;
		if (body->last && !answer->complete && !answer->gone)
			complete(query, answer, child);
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
			lose(query, answer, child);
			finish_if_complete(query);
		}
	}
}

/* What was sent after the question is counted already, where it was then. */
void count_returned(struct counter *counter, const struct child *child,
		    const struct transit *transit)
{
	struct count_query *query;
	uint32_t listener = transit->source->id;

	LIST_FOREACH (query, &counter->queries, link) {
		struct answer *answer = answer_of(query, child);

		if (answer && !answer->complete && !answer->gone &&
		    listener < counter->n_listeners &&
		    !claims_is_before(answer->last, transit->number))
			answer->returned[listener]++;
	}
}
