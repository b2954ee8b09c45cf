/* From the queues of the kernel to a dispatcher: accepts for as long as there is a taker for it.
 *
 * Owns:   nothing: what is accepted goes to dispatch_give(). It starts and stops the watchers of
 *         the sources.
 * Source: accept(2), "Error handling". */
#ifndef USHER_COMMON_CLUSTER_DISPATCH_ACCEPT_H
#define USHER_COMMON_CLUSTER_DISPATCH_ACCEPT_H

#include "common/cluster/dispatch.h"

/* Takes up to limit connections of a source, and hands them off. Returns whether the queue was
 * found empty, or cannot be emptied for now. */
bool dispatch_accept(struct dispatcher *dispatcher, struct source *source, size_t limit);

/* All there are, when no source is watched. Returns whether nothing waits any more, in the kernel
 * or here. */
bool dispatch_empty(struct dispatcher *dispatcher);

/* Watches those that wait of which connections can be taken. One that is watched stays so until
 * somebody comes: whether he can be taken is seen then, and it waits if not. */
void dispatch_watch(struct dispatcher *dispatcher);

/* Something is short, as the errno says: nothing is accepted for a while. */
void dispatch_stop_short(struct dispatcher *dispatcher, const char *what, int error);

/* Has it wait, until the next dispatch_watch() at least. */
void dispatch_unwatch(struct dispatcher *dispatcher, struct source *source);
void dispatch_unwatch_all(struct dispatcher *dispatcher);

#endif
