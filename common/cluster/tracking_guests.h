/* What came from one other process: counted by the key of the server that it left, until it ends.
 * tracking_enter() of tracking.h is here.
 *
 * Owns:   the stand-ins, one for each key.
 * Errors: 0 or -errno, of the channel. */
#ifndef USHER_COMMON_CLUSTER_TRACKING_GUESTS_H
#define USHER_COMMON_CLUSTER_TRACKING_GUESTS_H

#include "common/cluster/tracking.h"

/* The other process's questions: how many there are, and to be told when there are none. */
int tracking_guests_count(struct tracking *t, const struct ipc_sockets *body);
int tracking_guests_close(struct tracking *t, const struct ipc_sockets *body);

/* The channel has room again. */
void tracking_guests_drained(struct tracking *t);

/* The process is gone: what came from it counts no more. */
void tracking_guests_end(struct tracking *t);

#endif
