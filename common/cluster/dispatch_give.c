#include "common/cluster/dispatch_give.h"

#include "common/clock.h"

/* A copy of what was taken is kept for no longer, even if nothing else happens. */
#define LOOK_S 0.02

bool dispatch_has_able(const struct dispatcher *d, const struct source *s)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (policy_is_able(s, t))
			return true;
	return false;
}

/* Any but other, which may be NULL. */
static bool anybody_is_able(const struct dispatcher *d, const struct taker *other)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (t != other && taker_is_able(t))
			return true;
	return false;
}

void dispatch_complain(struct dispatcher *d, const struct taker *t, const char *what, int error)
{
	if (throttle_lets(&d->complaints))
		d->ops->complaint(t, what, error, d->ctx);
}

void dispatch_pause(struct dispatcher *d)
{
	if (ev_is_active(&d->pause))
		return;
	ev_timer_set(&d->pause, DISPATCH_PAUSE_MS / 1000.0, 0);
	ev_timer_start(d->loop, &d->pause);
}

/* --- what takers have taken ----------------------------------------------------------------- */

void dispatch_park(struct dispatcher *d, struct taker *t, struct transit_list *back)
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

void dispatch_tell_change(struct dispatcher *d, struct taker *t, bool was_late, bool was_full)
{
	if (was_late && !t->handoff.late)
		d->ops->again(t, d->ctx);
	if (was_full || !t->handoff.full)
		return;
	dispatch_complain(d, t, NULL, -t->handoff.full);
	dispatch_pause(d);
}

static void look_at(struct dispatcher *d, struct taker *t)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	bool was_late = t->handoff.late, was_full = t->handoff.full;
	int error = handoff_look(&t->handoff, &back);

	dispatch_park(d, t, &back);
	if (error < 0)
		d->ops->broke(t, d->ctx);
	dispatch_tell_change(d, t, was_late, was_full);
}

/* Who takes though there is nothing to take is found out when it is given something. */
void dispatch_look(struct dispatcher *d)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_unanswered(&t->handoff) > 0)
			look_at(d, t);
}

void dispatch_want_bells(struct dispatcher *d, bool wanted)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_want_bell(&t->handoff, wanted))
			look_at(d, t);
}

bool dispatch_is_under_way(const struct dispatcher *d)
{
	const struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_deadline_ms(&t->handoff) > 0)
			return true;
	return false;
}

static void look_soon(struct dispatcher *d)
{
	if (ev_is_active(&d->look) || !dispatch_is_under_way(d))
		return;
	ev_now_update(d->loop);
	ev_timer_set(&d->look, LOOK_S, LOOK_S);
	ev_timer_start(d->loop, &d->look);
}

static void expire(struct dispatcher *d, struct taker *t, int64_t now_ms)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	bool was_late = t->handoff.late;
	int error = handoff_expire(&t->handoff, now_ms, &back);

	dispatch_park(d, t, &back);
	if (error < 0)
		d->ops->broke(t, d->ctx);
	if (t->handoff.late && !was_late)
		d->ops->late(t, d->ctx);
}

/* At the end what nobody else can take would be closed: it stays with the taker for as long as that
 * lives. */
static bool is_left_alone(const struct dispatcher *d, const struct taker *taker)
{
	return (d->emptying || d->stopped) && !anybody_is_able(d, taker);
}

void dispatch_expire(struct dispatcher *d, int64_t now_ms)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (!is_left_alone(d, t))
			expire(d, t, now_ms);
}

/* --- handing off ---------------------------------------------------------------------------- */

/* Returns whether nobody has to wait for a taker of it. */
static bool try_to_give(struct dispatcher *d, struct transit *transit)
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

void dispatch_give(struct dispatcher *d, struct transit *transit)
{
	if (!try_to_give(d, transit))
		TAILQ_INSERT_TAIL(&d->parked, transit, link);
}

/* Returns whether any was given. */
static bool give_some_parked(struct dispatcher *d)
{
	struct transit_list parked = TAILQ_HEAD_INITIALIZER(parked);
	struct transit *transit;
	bool given = false;

	TAILQ_CONCAT(&parked, &d->parked, link);
	while ((transit = TAILQ_FIRST(&parked)) && anybody_is_able(d, NULL)) {
		TAILQ_REMOVE(&parked, transit, link);
		if (try_to_give(d, transit))
			given = true;
		else
			TAILQ_INSERT_TAIL(&d->parked, transit, link);
	}
	TAILQ_CONCAT(&d->parked, &parked, link);
	return given;
}

static void send_to(struct dispatcher *d, struct taker *t)
{
	struct transit_list back = TAILQ_HEAD_INITIALIZER(back);
	int error = handoff_send(&t->handoff, t->channel, clock_ms(), &back);

	dispatch_park(d, t, &back);
	if (error < 0) {
		dispatch_complain(d, NULL, "connections cannot be handed off", error);
		dispatch_pause(d);
	}
}

void dispatch_send(struct dispatcher *d)
{
	struct taker *t;

	TAILQ_FOREACH (t, &d->takers, link)
		if (handoff_has_unsent(&t->handoff))
			send_to(d, t);
	look_soon(d);
}

void dispatch_give_parked(struct dispatcher *d)
{
	/* Who cannot be sent to is not able any more, so this ends. */
	while (!TAILQ_EMPTY(&d->parked) && give_some_parked(d))
		dispatch_send(d);
}

void dispatch_drop_parked(struct dispatcher *d, const struct source *s)
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
