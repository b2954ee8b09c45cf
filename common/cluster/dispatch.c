#include "common/cluster/dispatch.h"

#include <errno.h>

#include "common/clock.h"
#include "common/cluster/dispatch_accept.h"
#include "common/cluster/dispatch_give.h"
#include "common/macros.h"

/* Connections taken from one source in one wake-up. */
#define ACCEPTS_MAX 64

static void end_soon(struct dispatcher *d)
{
	ev_timer_stop(d->loop, &d->end);
	ev_timer_set(&d->end, 0, 0);
	ev_timer_start(d->loop, &d->end);
}

static void on_end(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, end);

	d->emptying = false;
	d->stopped = true;
	d->on_stopped(d->stopped_ctx);
}

/* Whether its takers have no room, all of them; one that nobody has joined waits for no room. */
static bool lacks_room(const struct dispatcher *d, const struct source *s)
{
	const struct taker *t;

	if (dispatch_has_able(d, s))
		return false;
	TAILQ_FOREACH (t, &d->takers, link)
		if (t->ready && taker_has_joined(t, s->id))
			return true;
	return false;
}

static bool wants_room(const struct dispatcher *d)
{
	const struct source *s;

	if (!TAILQ_EMPTY(&d->parked))
		return true;
	TAILQ_FOREACH (s, &d->waiting, link)
		if (lacks_room(d, s))
			return true;
	return false;
}

void dispatch_update(struct dispatcher *d)
{
	dispatch_give_parked(d);
	dispatch_want_bells(d, wants_room(d));
	dispatch_give_parked(d);
	if (d->stopped)
		dispatch_drop_parked(d, NULL);
	dispatch_watch(d);
	if (d->emptying && dispatch_empty(d))
		end_soon(d);
}

/* Who is parked comes first. */
static void accept_some(struct dispatcher *d, struct source *s)
{
	dispatch_look(d);
	dispatch_give_parked(d);
	dispatch_accept(d, s, ACCEPTS_MAX);
}

/* With EV_ERROR the kernel has no room for one more watched descriptor, and libev has stopped the
 * watcher. */
static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct dispatcher *d = watcher->data;

	if (events & EV_ERROR)
		dispatch_stop_short(d, "watch a listener", ENOSPC);
	else
		accept_some(d, CONTAINER_OF(watcher, struct source, acceptor));
	dispatch_update(d);
}

/* --- what takers say ------------------------------------------------------------------------ */

/* Of a source that has gone there may still be word. */
int dispatch_progress(struct dispatcher *d, struct taker *t, const struct ipc_message *message)
{
	const struct ipc_progress *body = message->body;
	const struct ipc_counted_row *rows = message->tail;
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	bool was_late = t->handoff.late, was_full = t->handoff.full;
	int error = handoff_told(&t->handoff, body->taken, &back);

	dispatch_park(d, t, &back);
	if (error < 0)
		return error;
	for (size_t i = 0; i < message->tail_count; i++) {
		if (rows[i].listener >= d->end_of_ids)
			return -EPROTO;
		taker_set_connections(t, rows[i].listener, rows[i].connections);
	}
	dispatch_tell_change(d, t, was_late, was_full);
	dispatch_update(d);
	return 0;
}

void dispatch_bury(struct dispatcher *d, struct taker *t)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);

	taker_leave_all(t);
	handoff_end(&t->handoff, &back);
	dispatch_park(d, t, &back);
	dispatch_update(d);
}

static void on_look(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, look);
	int64_t now_ms = clock_ms();

	dispatch_look(d);
	dispatch_expire(d, now_ms);
	dispatch_update(d);
	if (!dispatch_is_under_way(d))
		ev_timer_stop(loop, watcher);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, pause);
	struct taker *t;

	d->short_of = false;
	TAILQ_FOREACH (t, &d->takers, link)
		handoff_retry(&t->handoff);
	dispatch_update(d);
}

/* --- from start to end ---------------------------------------------------------------------- */

void dispatch_init(struct dispatcher *d, struct ev_loop *loop, const struct dispatch_ops *ops,
		   void *ctx)
{
	*d = (struct dispatcher){
		.loop = loop,
		.ops = ops,
		.ctx = ctx,
	};
	TAILQ_INIT(&d->takers);
	TAILQ_INIT(&d->watched);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->parked);
	ev_init(&d->pause, on_pause_over);
	ev_init(&d->look, on_look);
	ev_init(&d->end, on_end);
	/* What is said already counts: it is read first. */
	ev_set_priority(&d->look, EV_MINPRI);
}

void dispatch_add_source(struct dispatcher *d, struct source *s)
{
	ev_io_init(&s->acceptor, on_acceptable, s->fd, EV_READ);
	s->acceptor.data = d;
	s->last_rank = 0;
	s->watched = false;
	if (s->id >= d->end_of_ids)
		d->end_of_ids = s->id + 1;
	TAILQ_INSERT_TAIL(&d->waiting, s, link);
	dispatch_update(d);
}

void dispatch_remove_source(struct dispatcher *d, struct source *s)
{
	struct taker *t;

	dispatch_unwatch(d, s);
	TAILQ_REMOVE(&d->waiting, s, link);
	dispatch_drop_parked(d, s);
	TAILQ_FOREACH (t, &d->takers, link) {
		handoff_forget(&t->handoff, s);
		taker_leave(t, s->id);
	}
	dispatch_update(d);
}

void dispatch_add_taker(struct dispatcher *d, struct taker *t)
{
	TAILQ_INSERT_TAIL(&d->takers, t, link);
	dispatch_update(d);
}

void dispatch_remove_taker(struct dispatcher *d, struct taker *t)
{
	TAILQ_REMOVE(&d->takers, t, link);
	dispatch_bury(d, t);
}

/* --- what waits ------------------------------------------------------------------------------ */

void dispatch_count_parked(const struct dispatcher *d, uint32_t *counts, size_t n)
{
	transit_count(&d->parked, counts, n);
}

/* Returns whether fn wants more. */
static bool tell(const struct transit_list *transits, const struct taker *t,
		 dispatch_waiting_fn *fn, void *ctx)
{
	const struct transit *transit;

	TAILQ_FOREACH (transit, transits, link)
		if (transit->source && !fn(transit, t, ctx))
			return false;
	return true;
}

void dispatch_each_waiting(const struct dispatcher *d, dispatch_waiting_fn *fn, void *ctx)
{
	const struct taker *t;
	bool more = tell(&d->parked, NULL, fn, ctx);

	TAILQ_FOREACH (t, &d->takers, link)
		more = more && tell(&t->handoff.transits, t, fn, ctx);
}

/* --- the end --------------------------------------------------------------------------------- */

bool dispatch_stop(struct dispatcher *d, dispatch_stopped_fn *on_stopped, void *ctx)
{
	d->emptying = true;
	dispatch_unwatch_all(d);
	dispatch_watch(d);
	if (dispatch_empty(d)) {
		d->emptying = false;
		d->stopped = true;
		return true;
	}
	d->on_stopped = on_stopped;
	d->stopped_ctx = ctx;
	ev_now_update(d->loop);
	ev_timer_set(&d->end, DISPATCH_EMPTYING_MS / 1000.0, 0);
	ev_timer_start(d->loop, &d->end);
	return false;
}

void dispatch_done(struct dispatcher *d)
{
	d->stopped = true;
	dispatch_unwatch_all(d);
	ev_timer_stop(d->loop, &d->look);
	ev_timer_stop(d->loop, &d->pause);
	ev_timer_stop(d->loop, &d->end);
	dispatch_drop_parked(d, NULL);
}
