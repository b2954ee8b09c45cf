/* A net_server_get_connections() that waits for what other processes count.
 *
 * Owns:   a query holds its context until its callback was called.
 * Errors: 0 or -errno; -EPROTO for a count that cannot be, with a phrase for the log.
 * Order:  the callback comes from the loop, after TRACKING_DEADLINE_MS at the latest. */
#ifndef USHER_COMMON_CLUSTER_TRACKING_QUERY_H
#define USHER_COMMON_CLUSTER_TRACKING_QUERY_H

#include "common/cluster/tracking_parts.h"

/* Asks every process that has sockets of the server; fn gets the sum. */
int tracking_query_start(struct tracking_remote *remote, server_counted_fn *fn, void *arg);

/* The answer of one. What nobody asked is ignored. */
int tracking_query_answered(struct tracking *t, const struct ipc_sockets_counted *body,
			    const char **ret_why);

/* The row goes: nobody waits for its process any more. */
void tracking_query_forget(struct tracking_row *row);

/* The server goes: whoever asked is answered at once, with none. */
void tracking_query_end(struct tracking_remote *remote);

#endif
