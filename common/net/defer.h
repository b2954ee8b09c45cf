/* Calls that wait until the current handler has returned, and run before the loop polls again.
 *
 * Owns:   nothing: a struct defer is part of the object that the call is about, and must stay
 *         until it has run. There is no taking back; who may be gone by then holds a reference.
 * Errors: none; waiting needs no memory.
 * Order:  first in, first out, over all objects of one loop. Calls that make calls without end do
 *         not starve the loop: after DEFER_MAX_RUN in one turn it polls in between.
 * Source: ev(3), ev_feed_event() and "avoiding finishing before returning". */
#ifndef USHER_COMMON_NET_DEFER_H
#define USHER_COMMON_NET_DEFER_H

#include <ev.h>
#include <stdbool.h>
#include <sys/queue.h>

#define DEFER_MAX_RUN 1024

struct defer;
typedef void defer_fn(struct defer *call);

struct defer {
	STAILQ_ENTRY(defer) link;
	defer_fn *fn; /* NULL: it does not wait */
};

struct defer_queue {
	struct ev_loop *loop;
	STAILQ_HEAD(, defer) calls;
	ev_prepare turn; /* never started, only fed: it runs as soon as the current handler ends */
	ev_idle next;    /* keeps the loop from sleeping when the turn was cut off */
	unsigned iteration;
	unsigned run;
};

void defer_init(struct defer_queue *queue, struct ev_loop *loop);

/* The queue must be empty. */
void defer_done(struct defer_queue *queue);

/* Makes call->fn(call) run later; call must not be waiting. */
void defer_call(struct defer_queue *queue, struct defer *call, defer_fn *fn);

static inline bool defer_waits(const struct defer *call)
{
	return call->fn;
}

#endif
