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

/* All there are. Returns whether nothing waits any more, in the kernel or here. */
bool dispatch_empty(struct dispatcher *dispatcher);

/* Watches the sources of which connections can be taken, and no others. */
void dispatch_watch(struct dispatcher *dispatcher);

#endif
