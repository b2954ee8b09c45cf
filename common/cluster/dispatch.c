#include "common/cluster/dispatch.h"

#include <poll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/macros.h"
#include "common/net/error.h"

/* Connections taken from one source in one wake-up. */
#define ACCEPTS_MAX 64

/* A copy of what was taken is kept for no longer, even if nothing else happens. */
#define LOOK_S 0.02

/* Complaints about that come no more often. */
#define COMPLAINT_S 10

static bool is_open(const struct source *s)
{
	return !s->meter || s->meter->is_open(s);
}

static bool somebody_is_able(const struct dispatcher *d, const struct source *s)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (policy_is_able(s, t))
			return true;
	return false;
}

static bool anybody_is_able(const struct dispatcher *d)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (taker_is_able(t))
			return true;
	return false;
}

static void complain(struct dispatcher *d, const struct taker *t, const char *what, int error)
{
	if (ev_now(d->loop) - d->complained_at < COMPLAINT_S)
		return;
	d->complained_at = ev_now(d->loop);
	d->ops->complaint(t, what, error, d->ctx);
}

static void pause_a_while(struct dispatcher *d)
{
	if (ev_is_active(&d->pause))
		return;
	ev_timer_set(&d->pause, DISPATCH_PAUSE_MS / 1000.0, 0);
	ev_timer_start(d->loop, &d->pause);
}

/* --- what takers have taken ----------------------------------------------------------------- */

/* All in back come from a taker. */
static void park(struct dispatcher *d, struct taker *t, struct transit_list *back)
{
	struct transit *transit;

	while ((transit = TAILQ_FIRST(back))) {
		TAILQ_REMOVE(back, transit, link);
		if (!transit->source) {
			transit_free(transit);
			continue;
		}
		taker_got_back(t, transit->source->id);
		if (d->ops->returned)
			d->ops->returned(t, transit, d->ctx);
		TAILQ_INSERT_TAIL(&d->parked, transit, link);
	}
}

static void tell_change(struct dispatcher *d, struct taker *t, bool was_late, bool was_full)
{
	if (was_late && !t->handoff.late)
		d->ops->again(t, d->ctx);
	if (was_full || !t->handoff.full)
		return;
	complain(d, t, NULL, -t->handoff.full);
	pause_a_while(d);
}

static void look_at(struct dispatcher *d, struct taker *t)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	bool was_late = t->handoff.late, was_full = t->handoff.full;
	int error = handoff_look(&t->handoff, &back);

	park(d, t, &back);
	if (error < 0)
		d->ops->broke(t, d->ctx);
	tell_change(d, t, was_late, was_full);
}

void dispatch_look(struct dispatcher *d)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		look_at(d, t);
}

/* What was taken before the bell was wanted is to be seen as well. */
static void want_bells(struct dispatcher *d, bool wanted)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_want_bell(&t->handoff, wanted))
			look_at(d, t);
}

static bool is_under_way(const struct dispatcher *d)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_deadline_ms(&t->handoff) > 0)
			return true;
	return false;
}

static void look_soon(struct dispatcher *d)
{
	if (ev_is_active(&d->look) || !is_under_way(d))
		return;
	ev_now_update(d->loop);
	ev_timer_set(&d->look, LOOK_S, LOOK_S);
	ev_timer_start(d->loop, &d->look);
}

/* --- handing off ---------------------------------------------------------------------------- */

/* Returns whether nobody has to wait for a taker of it. */
static bool give(struct dispatcher *d, struct transit *transit)
{
	struct taker *t;

	if (!transit->source) {
		transit_free(transit);
		return true;
	}
	t = policy_choose(transit->source, &d->takers, &transit->peer);
	if (!t)
		return false;
	taker_gave(t, transit->source->id);
	handoff_add(&t->handoff, transit);
	return true;
}

/* Returns whether any was given. */
static bool give_parked(struct dispatcher *d)
{
	struct transit_list parked = TAILQ_HEAD_INITIALIZER(parked);
	struct transit *transit;
	bool given = false;

	TAILQ_CONCAT(&parked, &d->parked, link);
	while ((transit = TAILQ_FIRST(&parked)) && anybody_is_able(d)) {
		TAILQ_REMOVE(&parked, transit, link);
		if (give(d, transit))
			given = true;
		else
			TAILQ_INSERT_TAIL(&d->parked, transit, link);
	}
	TAILQ_CONCAT(&d->parked, &parked, link);
	return given;
}

static void send_noted(struct dispatcher *d)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link) {
		struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
		int error = handoff_send(&t->handoff, t->channel, clock_ms(), &back);

		park(d, t, &back);
		if (error < 0) {
			complain(d, NULL, "connections cannot be handed off", error);
			pause_a_while(d);
		}
	}
	look_soon(d);
}

/* After the end nobody will come for them; of one source, or all (NULL). */
static void drop_parked(struct dispatcher *d, const struct source *s)
{
	struct transit *transit, *next;
	size_t count = 0;

	for (transit = TAILQ_FIRST(&d->parked); transit; transit = next) {
		next = TAILQ_NEXT(transit, link);
		if (s && transit->source != s)
			continue;
		TAILQ_REMOVE(&d->parked, transit, link);
		if (transit->source && transit->source->meter)
			transit->source->meter->closed(transit->source);
		transit_free(transit);
		count++;
	}
	if (count > 0)
		d->ops->dropped(count, d->ctx);
}

/* --- accepting ------------------------------------------------------------------------------ */

static void stop_short(struct dispatcher *d, int error)
{
	complain(d, NULL, "accept", -error);
	d->short_of = true;
	pause_a_while(d);
}

/* Returns whether there may be more. */
static bool accept_one(struct dispatcher *d, struct source *s)
{
	struct transit *t = malloc(sizeof(*t));

	if (!t) {
		stop_short(d, ENOMEM);
		return false;
	}
	*t = (struct transit){
		.source = s,
		.peer.len = sizeof(t->peer.un),
		.accepted_ms = clock_ms(),
	};
	t->fd = accept4(s->fd, &t->peer.sa, &t->peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (t->fd >= 0) {
		if (s->meter)
			s->meter->accepted(s);
		if (!give(d, t))
			TAILQ_INSERT_TAIL(&d->parked, t, link);
		return true;
	}
	free(t);
	if (error_is_of_one_connection(errno))
		return true;
	if (errno != EAGAIN)
		stop_short(d, errno);
	return false;
}

static bool somebody_waits(const struct source *s)
{
	struct pollfd entry = {.fd = s->fd, .events = POLLIN};

	return poll(&entry, 1, 0) != 0;
}

/* Returns whether the queue was found empty, or cannot be emptied for now. */
static bool accept_some(struct dispatcher *d, struct source *s, size_t limit)
{
	bool empty = false;

	for (size_t i = 0; !empty && i < limit && is_open(s) && somebody_is_able(d, s); i++)
		empty = !accept_one(d, s);
	send_noted(d);
	return empty || (!is_open(s) && !somebody_waits(s));
}

/* With a parked connection of its own a source has no taker that is able. */
static bool shall_accept(const struct dispatcher *d, const struct source *s)
{
	return !d->stopped && !d->emptying && !d->short_of && is_open(s) && somebody_is_able(d, s);
}

static void watch_sources(struct dispatcher *d)
{
	struct source *s;

	TAILQ_FOREACH (s, &d->sources, link) {
		if (shall_accept(d, s))
			ev_io_start(d->loop, &s->acceptor);
		else
			ev_io_stop(d->loop, &s->acceptor);
		if (s->meter)
			s->meter->reckoned(s);
	}
}

/* --- the end of accepting -------------------------------------------------------------------- */

/* Returns whether nothing waits any more, in the kernel or here. */
static bool empty_queues(struct dispatcher *d)
{
	struct source *s;
	bool empty = true;

	TAILQ_FOREACH (s, &d->sources, link)
		if (!accept_some(d, s, SIZE_MAX))
			empty = false;
	return empty && !d->short_of && TAILQ_EMPTY(&d->parked);
}

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

static void give_all(struct dispatcher *d)
{
	/* Who cannot be sent to is not able any more, so this ends. */
	while (!TAILQ_EMPTY(&d->parked) && give_parked(d))
		send_noted(d);
}

/* Whether its takers have no room, all of them; one that nobody has joined waits for no room. */
static bool lacks_room(const struct dispatcher *d, const struct source *s)
{
	const struct taker *t;
	bool has_takers = false;

	TAILQ_FOREACH (t, &d->takers, link)
		has_takers |= t->ready && taker_has_joined(t, s->id);
	return has_takers && !somebody_is_able(d, s);
}

static bool wants_room(const struct dispatcher *d)
{
	const struct source *s;

	if (!TAILQ_EMPTY(&d->parked))
		return true;
	TAILQ_FOREACH (s, &d->sources, link)
		if (lacks_room(d, s))
			return true;
	return false;
}

void dispatch_update(struct dispatcher *d)
{
	give_all(d);
	want_bells(d, wants_room(d));
	give_all(d);
	if (d->stopped)
		drop_parked(d, NULL);
	watch_sources(d);
	if (d->emptying && empty_queues(d))
		end_soon(d);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct dispatcher *d = watcher->data;

	dispatch_look(d);
	accept_some(d, CONTAINER_OF(watcher, struct source, acceptor), ACCEPTS_MAX);
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

	park(d, t, &back);
	if (error < 0)
		return error;
	for (size_t i = 0; i < message->tail_count; i++) {
		if (rows[i].listener >= d->end_of_ids)
			return -EPROTO;
		taker_set_connections(t, rows[i].listener, rows[i].connections);
	}
	tell_change(d, t, was_late, was_full);
	dispatch_update(d);
	return 0;
}

void dispatch_bury(struct dispatcher *d, struct taker *t)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);

	taker_leave_all(t);
	handoff_end(&t->handoff, &back);
	park(d, t, &back);
	dispatch_update(d);
}

static void expire(struct dispatcher *d, struct taker *t, int64_t now_ms)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	bool was_late = t->handoff.late;
	int error = handoff_expire(&t->handoff, now_ms, &back);

	park(d, t, &back);
	if (error < 0)
		d->ops->broke(t, d->ctx);
	if (t->handoff.late && !was_late)
		d->ops->late(t, d->ctx);
}

static void on_look(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, look);
	int64_t now_ms = clock_ms();
	struct taker *t;

	dispatch_look(d);
	TAILQ_FOREACH (t, &d->takers, link)
		expire(d, t, now_ms);
	dispatch_update(d);
	if (!is_under_way(d))
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
		.complained_at = -COMPLAINT_S,
	};
	TAILQ_INIT(&d->takers);
	TAILQ_INIT(&d->sources);
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
	if (s->id >= d->end_of_ids)
		d->end_of_ids = s->id + 1;
	TAILQ_INSERT_TAIL(&d->sources, s, link);
	dispatch_update(d);
}

void dispatch_remove_source(struct dispatcher *d, struct source *s)
{
	struct taker *t;

	ev_io_stop(d->loop, &s->acceptor);
	TAILQ_REMOVE(&d->sources, s, link);
	drop_parked(d, s);
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
	const struct transit *transit;

	TAILQ_FOREACH (transit, &d->parked, link)
		if (transit->source && transit->source->id < n)
			counts[transit->source->id]++;
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

bool dispatch_stop(struct dispatcher *d, dispatch_stopped_fn *on_stopped, void *ctx)
{
	d->emptying = true;
	watch_sources(d);
	if (empty_queues(d)) {
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
	watch_sources(d);
	ev_timer_stop(d->loop, &d->look);
	ev_timer_stop(d->loop, &d->pause);
	ev_timer_stop(d->loop, &d->end);
	drop_parked(d, NULL);
}
