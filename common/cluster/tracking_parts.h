/* What the modules of a tracking share; tracking.h says what it is for.
 *
 * Owns: a remote is owned by its server; a row by both its remote and its tracking. */
#ifndef USHER_COMMON_CLUSTER_TRACKING_PARTS_H
#define USHER_COMMON_CLUSTER_TRACKING_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/tracking.h"
#include "common/net/server.h"

/* A server of ours, some of whose sockets are elsewhere. */
struct tracking_remote {
	struct server_remote base;
	struct net_server *server;
	uint64_t key;
	LIST_HEAD(, tracking_row) rows;
	LIST_HEAD(, tracking_query) queries;
};

/* A server of ours and a process that received sockets of it. */
struct tracking_row {
	LIST_ENTRY(tracking_row) in_remote;
	LIST_ENTRY(tracking_row) in_tracking;
	struct tracking_remote *remote;
	struct tracking *tracking;
	size_t known;           /* it has no more than these */
	size_t in_transit;      /* sent, and not yet answered */
	uint32_t close_request; /* it was asked to tell when it has none; 0: it was not */
};

/* Sends a question about the server with that key, and gives the number of the answer. */
int tracking_send_question(struct tracking *t, enum ipc_type type, uint64_t key,
			   uint32_t *ret_request);

#endif
