#include "common/net/defer.h"

#include <assert.h>
#include <stddef.h>

#include "common/macros.h"

/* With the highest priority a fed event is the next that libev handles. */
static void run_soon(struct defer_queue *queue)
{
	unsigned iteration = ev_iteration(queue->loop);

	if (iteration != queue->iteration) {
		queue->iteration = iteration;
		queue->run = 0;
	}

	if (queue->run < DEFER_MAX_RUN)
		ev_feed_event(queue->loop, &queue->turn, EV_CUSTOM);
	else
		ev_idle_start(queue->loop, &queue->next);
}

/* Runs one call. The next is fed first, so that it runs even if this one runs the loop. */
static void run_one(struct defer_queue *queue)
{
	struct defer *call = STAILQ_FIRST(&queue->calls);
	defer_fn *fn;

	if (!call)
		return;

	STAILQ_REMOVE_HEAD(&queue->calls, link);
	queue->run++;
	if (!STAILQ_EMPTY(&queue->calls))
		run_soon(queue);

	fn = call->fn;
	call->fn = NULL;
	fn(call);
}

static void on_turn(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	run_one(CONTAINER_OF(watcher, struct defer_queue, turn));
}

static void on_next(struct ev_loop *loop, ev_idle *watcher, int events)
{
	struct defer_queue *queue = CONTAINER_OF(watcher, struct defer_queue, next);

	ev_idle_stop(loop, watcher);
	queue->iteration = ev_iteration(loop);
	queue->run = 0;
	run_one(queue);
}

void defer_init(struct defer_queue *queue, struct ev_loop *loop)
{
	queue->loop = loop;
	queue->iteration = ev_iteration(loop);
	queue->run = 0;
	STAILQ_INIT(&queue->calls);
	ev_prepare_init(&queue->turn, on_turn);
	ev_set_priority(&queue->turn, EV_MAXPRI);
	ev_idle_init(&queue->next, on_next);
	ev_set_priority(&queue->next, EV_MAXPRI);
}

void defer_done(struct defer_queue *queue)
{
	assert(STAILQ_EMPTY(&queue->calls));
	ev_clear_pending(queue->loop, &queue->turn);
	ev_idle_stop(queue->loop, &queue->next);
}

void defer_call(struct defer_queue *queue, struct defer *call, defer_fn *fn)
{
	bool first = STAILQ_EMPTY(&queue->calls);

	assert(!call->fn);
	call->fn = fn;
	STAILQ_INSERT_TAIL(&queue->calls, call, link);
	if (first)
		run_soon(queue);
}
