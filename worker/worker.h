/* A worker: its side of the channel, and the listeners it serves.
 *
 * It ends its loop when it has nothing left to do: after a drain (told by the supervisor, by TERM,
 * or begun because the supervisor has gone) when the last connection has ended or the deadline has
 * passed.
 *
 * Owns:   the channel's descriptor, listeners, connections and watchers.
 * Errors: functions return 0 or -errno; what goes wrong later is logged and ends the worker, whose
 *         supervisor starts another. */
#ifndef USHER_WORKER_WORKER_H
#define USHER_WORKER_WORKER_H

#include <ev.h>
#include <stdbool.h>

#include "common/cluster/intake.h"
#include "common/cluster/provider.h"
#include "common/ipc/channel.h"
#include "common/throttle.h"
#include "worker/permits.h"

struct server_sharing;

LIST_HEAD(service_list, service);

/* Of a socket that other workers watch as well, and of one that is this worker's alone; the ctx is
 * the worker. */
extern const struct server_sharing worker_sharing, worker_alone;

struct worker {
	struct ev_loop *loop;
	struct channel channel;
	struct service_list services;
	struct intake intake;        /* of connections that come accepted */
	struct permits_book permits; /* of the listeners that are metered */
	struct provider provider;    /* of servers that programs make */
	struct ipc_welcome welcome;
	bool draining;
	int status; /* the exit code */
	ev_timer deadline;
	struct throttle shortness; /* of descriptors or memory, in the log */
};

/* Starts to talk over channel_fd, which becomes the worker's. */
int worker_init(struct worker *worker, struct ev_loop *loop, int channel_fd);

/* Stops accepting, and ends the loop when the connections have ended or after timeout_ms. With
 * empty_queue what already waits to be accepted is served first. One that drains already has no
 * more time than timeout_ms from now on, and less if it had less. */
void worker_drain(struct worker *worker, unsigned int timeout_ms, bool empty_queue);

/* Ends the loop if it drains and nothing is left. */
void worker_end_if_idle(struct worker *worker);

/* Closes everything that is left. */
void worker_done(struct worker *worker);

#endif
