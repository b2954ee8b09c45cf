#include "common/cluster/dispatch_accept.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/cluster/dispatch_give.h"
#include "common/net/error.h"
#include "common/net/waiting.h"

static bool is_open(const struct source *s)
{
	return !s->meter || s->meter->is_open(s);
}

void dispatch_unwatch(struct dispatcher *d, struct source *s)
{
	if (!s->watched)
		return;
	s->watched = false;
	ev_io_stop(d->loop, &s->acceptor);
	TAILQ_REMOVE(&d->watched, s, link);
	TAILQ_INSERT_TAIL(&d->waiting, s, link);
}

void dispatch_unwatch_all(struct dispatcher *d)
{
	struct source *s;

	while ((s = TAILQ_FIRST(&d->watched)))
		dispatch_unwatch(d, s);
}

void dispatch_stop_short(struct dispatcher *d, const char *what, int error)
{
	dispatch_complain(d, NULL, what, -error);
	d->short_of = true;
	dispatch_unwatch_all(d);
	dispatch_pause(d);
}

/* Returns whether there may be more. */
static bool accept_one(struct dispatcher *d, struct source *s)
{
	struct transit *t = malloc(sizeof(*t));

	if (!t) {
		dispatch_stop_short(d, "accept", ENOMEM);
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
		dispatch_give(d, t);
		return true;
	}
	free(t);
	if (error_is_of_one_connection(errno))
		return true;
	if (errno != EAGAIN)
		dispatch_stop_short(d, "accept", errno);
	return false;
}

/* With a parked connection of its own a source has no taker that is able. */
static bool shall_accept(const struct dispatcher *d, const struct source *s)
{
	return !d->stopped && !d->emptying && !d->short_of && is_open(s) && dispatch_has_able(d, s);
}

bool dispatch_accept(struct dispatcher *d, struct source *s, size_t limit)
{
	bool empty = false;

	/* Most come alone. */
	for (size_t i = 0; !empty && i < limit && is_open(s) && dispatch_has_able(d, s); i++)
		empty = (i == 1 && !somebody_waits(s->fd)) || !accept_one(d, s);
	dispatch_send(d);
	if (!shall_accept(d, s))
		dispatch_unwatch(d, s);
	return empty || (!is_open(s) && !somebody_waits(s->fd));
}

void dispatch_watch(struct dispatcher *d)
{
	struct source *s, *next;

	for (s = TAILQ_FIRST(&d->waiting); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (shall_accept(d, s)) {
			TAILQ_REMOVE(&d->waiting, s, link);
			TAILQ_INSERT_TAIL(&d->watched, s, link);
			s->watched = true;
			ev_io_start(d->loop, &s->acceptor);
		}
		if (s->meter)
			s->meter->reckoned(s);
	}
}

bool dispatch_empty(struct dispatcher *d)
{
	struct source *s;
	bool empty = true;

	TAILQ_FOREACH (s, &d->waiting, link)
		if (!dispatch_accept(d, s, SIZE_MAX))
			empty = false;
	return empty && !d->short_of && TAILQ_EMPTY(&d->parked);
}
