/* Accepts on the listeners whose connections are handed off, and gives each to a worker.
 *
 * Work per wake-up is bounded, and so is what is under way: with no worker able to take more,
 * nothing is accepted and the kernel's queue holds. What a worker does not answer, refuses, or
 * takes to its grave goes to another; meanwhile it is parked, and comes first.
 *
 * Owns:   accepted connections that no worker has yet, and the watchers. An accepted connection is
 *         never watched: it would stay in our epoll set after we have closed it. Listeners and
 *         children are borrowed.
 * Errors: 0 or -errno; -EPROTO for a worker's answer to what it was never sent. Out of descriptors
 *         or memory it pauses, and says so once in a while.
 * Source: accept(2), "Error handling"; epoll(7), "Questions and answers", on closing. */
#ifndef USHER_DAEMON_DISPATCH_H
#define USHER_DAEMON_DISPATCH_H

#include "daemon/child.h"
#include "daemon/listener.h"

/* How long emptying the kernel's queues may take at the end. */
#define DISPATCH_EMPTYING_MS 1000

typedef void dispatch_stopped_fn(void *ctx);

/* All fields are the module's own. */
struct dispatcher {
	struct ev_loop *loop;
	const struct child_list *children;
	struct listener *listeners;
	size_t n_listeners;
	struct transit_list parked;
	ev_timer lease; /* until the first unanswered one has waited for too long */
	ev_timer pause; /* until what was short may be there again */
	bool short_of;  /* we cannot accept for now */
	bool accepting; /* the listeners are watched */
	bool emptying;  /* the kernel's queues, before the end */
	bool stopped;
	ev_timer end; /* of emptying */
	dispatch_stopped_fn *on_stopped;
	void *ctx;
	ev_tstamp complained_at;
};

/* Accepts as soon as a worker is able. Listeners of other kinds are left alone. */
void dispatch_init(struct dispatcher *dispatcher, struct ev_loop *loop,
		   const struct child_list *children, struct listener *listeners,
		   size_t n_listeners);

/* A worker has become able to take connections, or is so no longer. */
void dispatch_update(struct dispatcher *dispatcher);

/* Take the messages PROGRESS and REFUSED of a worker. */
int dispatch_progress(struct dispatcher *dispatcher, struct child *child,
		      const struct ipc_message *message);
int dispatch_refused(struct dispatcher *dispatcher, struct child *child,
		     const struct ipc_message *message);

/* The worker's process is dead, and all that it said has been heard. */
void dispatch_bury(struct dispatcher *dispatcher, struct child *child);

/* Hands off what waits in the kernel's queues, for as long as that may take, and accepts no more;
 * on_stopped is called from the loop after that. Returns whether that is so already, and it is not
 * called. */
bool dispatch_stop(struct dispatcher *dispatcher, dispatch_stopped_fn *on_stopped, void *ctx);

/* Closes what is parked. */
void dispatch_done(struct dispatcher *dispatcher);

#endif
