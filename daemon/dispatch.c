#include "daemon/dispatch.h"

#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/net/error.h"
#include "daemon/policy.h"

/* Connections taken from one listener in one wake-up. */
#define ACCEPTS_MAX 64

/* Without descriptors or memory, ours or a worker's, it is tried again after this. */
#define PAUSE_S 0.1

/* Complaints about that come no more often. */
#define COMPLAINT_S 10

static bool is_handed_off(const struct listener *l)
{
	return distribute_hands_off(l->config->distribute);
}

static bool somebody_is_able(const struct dispatcher *d)
{
	const struct child *c;

	TAILQ_FOREACH (c, d->children, link)
		if (policy_is_able(c))
			return true;
	return false;
}

static void complain(struct dispatcher *d, const char *what, int error)
{
	if (ev_now(d->loop) - d->complained_at < COMPLAINT_S)
		return;
	d->complained_at = ev_now(d->loop);
	log_warning("%s: %s; connections wait and are tried again every %d ms", what,
		    strerror(-error), (int)(PAUSE_S * 1000));
}

static void pause_a_while(struct dispatcher *d)
{
	if (ev_is_active(&d->pause))
		return;
	ev_timer_set(&d->pause, PAUSE_S, 0);
	ev_timer_start(d->loop, &d->pause);
}

/* --- the lease ------------------------------------------------------------------------------ */

static int64_t first_deadline_ms(const struct dispatcher *d)
{
	const struct child *c;
	int64_t first = 0;

	TAILQ_FOREACH (c, d->children, link) {
		int64_t deadline = handoff_deadline_ms(&c->handoff);

		if (deadline > 0 && (first == 0 || deadline < first))
			first = deadline;
	}
	return first;
}

/* One that runs is early enough: what is sent later is due later. */
static void watch_lease(struct dispatcher *d)
{
	int64_t deadline = ev_is_active(&d->lease) ? 0 : first_deadline_ms(d);

	if (deadline == 0)
		return;
	int64_t left = deadline - clock_ms();
	ev_now_update(d->loop);
	ev_timer_set(&d->lease, left > 0 ? (double)left / 1000 : 0, 0);
	ev_timer_start(d->loop, &d->lease);
}

/* --- handing off ---------------------------------------------------------------------------- */

/* Returns whether a worker was there for it. */
static bool give(struct dispatcher *d, struct transit *t)
{
	struct child *c = policy_choose(t->listener, d->children, &t->peer);

	if (!c)
		return false;
	handoff_add(&c->handoff, t);
	return true;
}

static void give_parked(struct dispatcher *d)
{
	struct transit *t, *next;

	for (t = TAILQ_FIRST(&d->parked); t; t = next) {
		next = TAILQ_NEXT(t, link);
		TAILQ_REMOVE(&d->parked, t, link);
		if (give(d, t))
			continue;
		if (next)
			TAILQ_INSERT_BEFORE(next, t, link);
		else
			TAILQ_INSERT_TAIL(&d->parked, t, link);
		return;
	}
}

static void send_noted(struct dispatcher *d)
{
	struct child *c;

	TAILQ_FOREACH (c, d->children, link) {
		int error = handoff_send(&c->handoff, &c->channel, clock_ms(), &d->parked);

		if (error < 0) {
			complain(d, "connections cannot be handed off", error);
			pause_a_while(d);
		}
	}
	watch_lease(d);
}

/* After the end nobody will come for them. */
static void drop_parked(struct dispatcher *d)
{
	struct transit *t;
	size_t count = 0;

	while ((t = TAILQ_FIRST(&d->parked))) {
		TAILQ_REMOVE(&d->parked, t, link);
		transit_free(t);
		count++;
	}
	if (count > 0)
		log_warning("closed %zu connections that no worker could take any more", count);
}

/* --- accepting ------------------------------------------------------------------------------ */

static void stop_short(struct dispatcher *d, int error)
{
	complain(d, "accept", -error);
	d->short_of = true;
	pause_a_while(d);
}

/* Returns whether there may be more. */
static bool accept_one(struct dispatcher *d, struct listener *l)
{
	struct transit *t = malloc(sizeof(*t));

	if (!t) {
		stop_short(d, ENOMEM);
		return false;
	}
	*t = (struct transit){.listener = l, .peer.len = sizeof(t->peer.un)};
	t->fd = accept4(l->handles[0].bound.fd, &t->peer.sa, &t->peer.len,
			SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (t->fd >= 0) {
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

/* Returns whether the queue was found empty, or cannot be emptied for now. */
static bool accept_some(struct dispatcher *d, struct listener *l, size_t limit)
{
	bool empty = false;

	for (size_t i = 0; !empty && i < limit && somebody_is_able(d); i++)
		empty = !accept_one(d, l);
	send_noted(d);
	return empty;
}

static void set_accepting(struct dispatcher *d, bool accepting)
{
	if (d->accepting == accepting)
		return;
	d->accepting = accepting;
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct listener *l = &d->listeners[i];

		if (!is_handed_off(l))
			continue;
		if (accepting)
			ev_io_start(d->loop, &l->acceptor);
		else
			ev_io_stop(d->loop, &l->acceptor);
	}
}

/* --- the end of accepting -------------------------------------------------------------------- */

/* Returns whether nothing waits any more, in the kernel or here. */
static bool empty_queues(struct dispatcher *d)
{
	bool empty = true;

	for (size_t i = 0; i < d->n_listeners; i++) {
		struct listener *l = &d->listeners[i];

		if (is_handed_off(l) && !accept_some(d, l, SIZE_MAX))
			empty = false;
	}
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
	d->on_stopped(d->ctx);
}

void dispatch_update(struct dispatcher *d)
{
	/* Who cannot be sent to is not able any more, so this ends. */
	while (!TAILQ_EMPTY(&d->parked) && somebody_is_able(d)) {
		give_parked(d);
		send_noted(d);
	}
	if (d->stopped)
		drop_parked(d);
	set_accepting(d, !d->stopped && !d->emptying && !d->short_of && TAILQ_EMPTY(&d->parked) &&
				 somebody_is_able(d));
	if (d->emptying && empty_queues(d))
		end_soon(d);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct dispatcher *d = watcher->data;

	accept_some(d, CONTAINER_OF(watcher, struct listener, acceptor), ACCEPTS_MAX);
	dispatch_update(d);
}

/* --- what workers answer -------------------------------------------------------------------- */

int dispatch_progress(struct dispatcher *d, struct child *c, const struct ipc_message *message)
{
	const struct ipc_progress *body = message->body;
	const struct ipc_counted_row *rows = message->tail;
	bool was_late = c->handoff.late;
	int error = handoff_taken(&c->handoff, body->taken);

	if (error < 0)
		return error;
	for (size_t i = 0; i < message->tail_count; i++) {
		if (rows[i].listener >= d->n_listeners)
			return -EPROTO;
		c->connections[rows[i].listener] = rows[i].connections;
	}
	if (was_late && !c->handoff.late)
		log_info("%s takes its connections again", child_name(c));
	dispatch_update(d);
	return 0;
}

int dispatch_refused(struct dispatcher *d, struct child *c, const struct ipc_message *message)
{
	const struct ipc_refused_row *rows = message->tail;
	struct transit *t;

	for (size_t i = 0; i < message->tail_count; i++) {
		int reason = (int)rows[i].reason;
		int error = handoff_refused(&c->handoff, rows[i].number, reason, &t);

		if (error < 0)
			return error;
		if (t)
			TAILQ_INSERT_TAIL(&d->parked, t, link);
		if (c->handoff.full)
			complain(d, child_name(c), -reason);
	}
	if (c->handoff.full)
		pause_a_while(d);
	dispatch_update(d);
	return 0;
}

void dispatch_bury(struct dispatcher *d, struct child *c)
{
	handoff_end(&c->handoff, &d->parked);
	dispatch_update(d);
}

static void on_lease(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, lease);
	int64_t now_ms = clock_ms();
	struct child *c;

	TAILQ_FOREACH (c, d->children, link) {
		bool was_late = c->handoff.late;

		handoff_expire(&c->handoff, now_ms, &d->parked);
		if (c->handoff.late && !was_late)
			log_warning("%s does not take its connections; they go to others until it "
				    "does",
				    child_name(c));
	}
	dispatch_update(d);
	watch_lease(d);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct dispatcher *d = CONTAINER_OF(watcher, struct dispatcher, pause);
	struct child *c;

	d->short_of = false;
	TAILQ_FOREACH (c, d->children, link)
		handoff_retry(&c->handoff);
	dispatch_update(d);
}

/* --- from start to end ---------------------------------------------------------------------- */

void dispatch_init(struct dispatcher *d, struct ev_loop *loop, const struct child_list *children,
		   struct listener *listeners, size_t n_listeners)
{
	*d = (struct dispatcher){
		.loop = loop,
		.children = children,
		.listeners = listeners,
		.n_listeners = n_listeners,
		.complained_at = -COMPLAINT_S,
	};
	TAILQ_INIT(&d->parked);
	ev_init(&d->pause, on_pause_over);
	ev_init(&d->lease, on_lease);
	ev_init(&d->end, on_end);
	/* An answer that is there already counts: it is read first. */
	ev_set_priority(&d->lease, EV_MINPRI);
	for (size_t i = 0; i < n_listeners; i++) {
		struct listener *l = &listeners[i];

		if (!is_handed_off(l) || l->n_handles == 0)
			continue;
		ev_io_init(&l->acceptor, on_acceptable, l->handles[0].bound.fd, EV_READ);
		l->acceptor.data = d;
	}
}

bool dispatch_stop(struct dispatcher *d, dispatch_stopped_fn *on_stopped, void *ctx)
{
	set_accepting(d, false);
	if (empty_queues(d)) {
		d->stopped = true;
		return true;
	}
	d->emptying = true;
	d->on_stopped = on_stopped;
	d->ctx = ctx;
	ev_now_update(d->loop);
	ev_timer_set(&d->end, DISPATCH_EMPTYING_MS / 1000.0, 0);
	ev_timer_start(d->loop, &d->end);
	return false;
}

void dispatch_done(struct dispatcher *d)
{
	set_accepting(d, false);
	ev_timer_stop(d->loop, &d->lease);
	ev_timer_stop(d->loop, &d->pause);
	ev_timer_stop(d->loop, &d->end);
	drop_parked(d);
}
