/* Sees to it that no connection waits for a worker that was woken for it and never came.
 *
 * For a connection on a shared socket the kernel wakes one worker alone. If that one accepts no
 * more before it comes to it, or has no descriptor for it, the others sleep on until the next
 * connection. It tells the supervisor, who has the others look at once. One that is stopped or busy
 * tells nothing: so the supervisor also looks from time to time whether a queue stays full.
 *
 * A socket that one worker has alone is looked at by whoever gets it next when he begins to watch
 * it.
 *
 * Owns:   a timer. Listeners, shares and children are borrowed.
 * Errors: nudge_start() returns 0 or -ENOMEM. A worker that cannot be told is left out.
 * Source: epoll_ctl(2), EPOLLEXCLUSIVE. */
#ifndef USHER_DAEMON_NUDGE_H
#define USHER_DAEMON_NUDGE_H

#include <poll.h>

#include "common/cluster/shares.h"
#include "daemon/child.h"
#include "daemon/listener.h"

/* Behind a worker that tells nothing a connection waits at most for twice this. */
#define NUDGE_INTERVAL_S 0.5

/* Between two looks for those that are short. */
#define NUDGE_SHORT_S 0.02

/* A shared listener. */
struct nudge_queue {
	uint32_t listener;
	bool waited; /* something was in its queue the last time */
};

/* All fields are the module's own. */
struct nudge {
	struct ev_loop *loop;
	const struct child_list *children;
	struct shares *shares; /* what programs in workers listen on */
	ev_timer timer;
	struct pollfd *entries;     /* one for each of the queues */
	struct nudge_queue *queues; /* count of them */
	size_t count;
	ev_timer short_pause;
	bool short_again; /* somebody was short during the pause */
};

int nudge_start(struct nudge *nudge, struct ev_loop *loop, const struct child_list *children,
		const struct listener *listeners, size_t n_listeners, struct shares *shares);

/* A share is there to be looked at; before nudge_start() and after nudge_stop() that is nothing. */
void nudge_share(struct nudge *nudge);

/* A worker accepts no more, on any socket or on that of a share: what it was woken for is for the
 * others. Before nudge_start() and after nudge_stop() that is nothing. */
void nudge_others(const struct nudge *nudge);
void nudge_others_of(const struct nudge *nudge, struct share *share);

/* A worker was woken and cannot accept for now. Where all are in that state, many say so, and not
 * each of them has all the others look. */
void nudge_short(struct nudge *nudge);

/* Before the listeners are closed. Stopping twice, or what was never started but zeroed, is fine.
 */
void nudge_stop(struct nudge *nudge);

#endif
