/* Accepts on sources and gives each connection to a taker.
 *
 * Work per wake-up is bounded, and so is what is under way: with no taker of a source able to
 * take more, nothing is accepted and the kernel's queue holds. What a taker lets wait,
 * refuses, or takes to its grave goes to another; meanwhile it is parked, and comes first. Sources
 * and takers come and go.
 *
 * Owns:   accepted connections that no taker has yet, and the watchers. An accepted connection is
 *         never watched: it would stay in our epoll set after we have closed it. Sources,
 *         takers, ops and ctx are borrowed.
 * Errors: 0 or -errno; -EPROTO for a taker that takes what it was never sent. Out of descriptors
 *         or memory it pauses, and complains once in a while.
 * Source: accept(2), "Error handling"; epoll(7), "Questions and answers", on closing. */
#ifndef USHER_COMMON_CLUSTER_DISPATCH_H
#define USHER_COMMON_CLUSTER_DISPATCH_H

#include "common/cluster/source.h"
#include "common/cluster/taker.h"
#include "common/throttle.h"

/* How long emptying the kernel's queues may take at the end. */
#define DISPATCH_EMPTYING_MS 1000

/* Without descriptors or memory, ours or a taker's, it is tried again after this. */
#define DISPATCH_PAUSE_MS 100

typedef void dispatch_stopped_fn(void *ctx);

/* Called inside calls and from the loop. For the log and for counting, and must do no more; but
 * after broke the taker's process must be ended, and its channel be closed: its end is told later.
 */
struct dispatch_ops {
	/* What was on its way to a taker waits for another one. May be NULL. */
	void (*returned)(const struct taker *taker, const struct transit *transit, void *ctx);
	/* Something is short, and connections wait: what failed, or else (NULL) which taker cannot
	 * have more. No more often than every THROTTLE_MS. */
	void (*complaint)(const struct taker *taker, const char *what, int error, void *ctx);
	/* A taker does not take its connections, so others get them; or it does again. */
	void (*late)(const struct taker *taker, void *ctx);
	void (*again)(const struct taker *taker, void *ctx);
	/* A taker says to have taken what it was never sent. */
	void (*broke)(struct taker *taker, void *ctx);
	/* So many connections were closed, for no taker is left for them. */
	void (*dropped)(size_t count, void *ctx);
};

/* All fields are the module's own. */
struct dispatcher {
	struct ev_loop *loop;
	const struct dispatch_ops *ops;
	void *ctx;
	struct taker_list takers;
	struct source_list watched; /* nothing is done for them until somebody comes */
	struct source_list waiting; /* the others: each wake-up may make it possible to accept */
	uint32_t end_of_ids;        /* no source had this one or a higher one */
	struct transit_list parked;
	ev_timer look;  /* while connections are on their way, and nothing else wakes us */
	ev_timer pause; /* until what was short may be there again */
	bool short_of;  /* we cannot accept for now */
	bool emptying;  /* the kernel's queues, before the end */
	bool stopped;
	ev_timer end; /* of emptying */
	dispatch_stopped_fn *on_stopped;
	void *stopped_ctx;
	struct throttle complaints;
};

void dispatch_init(struct dispatcher *dispatcher, struct ev_loop *loop,
		   const struct dispatch_ops *ops, void *ctx);

/* Accepts on it as soon as a taker is able. */
void dispatch_add_source(struct dispatcher *dispatcher, struct source *source);

/* Its connections that no taker has said to have are closed as they come back. */
void dispatch_remove_source(struct dispatcher *dispatcher, struct source *source);

void dispatch_add_taker(struct dispatcher *dispatcher, struct taker *taker);

/* What is on its way to it goes to others. */
void dispatch_remove_taker(struct dispatcher *dispatcher, struct taker *taker);

/* A taker has become able to take connections, or is so no longer. */
void dispatch_update(struct dispatcher *dispatcher);

/* Takes the message PROGRESS of a taker. */
int dispatch_progress(struct dispatcher *dispatcher, struct taker *taker,
		      const struct ipc_message *message);

/* Sees what the takers have taken by now: before the rest is counted. */
void dispatch_look(struct dispatcher *dispatcher);

/* The taker's process is dead, and all that it said has been heard: it has joined nothing, and
 * what it did not take goes to others. */
void dispatch_bury(struct dispatcher *dispatcher, struct taker *taker);

/* Adds what waits for a taker to counts by the source's id, of which there are n. */
void dispatch_count_parked(const struct dispatcher *dispatcher, uint32_t *counts, size_t n);

/* Tells each connection that was not seen taken; taker is NULL for one that waits. It ends when fn
 * returns false. */
typedef bool dispatch_waiting_fn(const struct transit *transit, const struct taker *taker,
				 void *ctx);
void dispatch_each_waiting(const struct dispatcher *dispatcher, dispatch_waiting_fn *fn, void *ctx);

/* Hands off what waits in the kernel's queues, for as long as that may take, and accepts no more;
 * on_stopped is called from the loop after that. Returns whether that is so already, and it is not
 * called. */
bool dispatch_stop(struct dispatcher *dispatcher, dispatch_stopped_fn *on_stopped, void *ctx);

/* Closes what is parked. */
void dispatch_done(struct dispatcher *dispatcher);

#endif
