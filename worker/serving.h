/* What a worker serves: the listeners that its supervisor gives it.
 *
 * Owns:   nothing; the services are the worker's.
 * Errors: functions that take a message return 0 or -errno; -EPROTO for what no supervisor of ours
 *         sends. Descriptors of the message are the services' on success. */
#ifndef USHER_WORKER_SERVING_H
#define USHER_WORKER_SERVING_H

#include "common/ipc/messages.h"
#include "common/net/addr.h"
#include "worker/worker.h"

#define SERVING_LABEL_SIZE ADDR_TEXT_SIZE

/* Take the messages of those names. */
int serving_serve(struct worker *worker, struct ipc_message *message);
int serving_adopt(struct worker *worker, const struct ipc_message *message);
void serving_release(struct worker *worker, const struct ipc_release *message);
void serving_nudge(struct worker *worker, const struct ipc_nudge *message);
int serving_permit(struct worker *worker, const struct ipc_permit *message);

/* The server that gets the connections of a listener that come accepted, and their tally; NULL:
 * there is none any more. */
struct net_server *serving_server(struct worker *worker, uint32_t listener, uint32_t *ret_tally);

/* What the log calls a listener: its name in quotes; where a program listens, the address; the
 * number of one that is gone. */
void serving_label(const struct worker *worker, uint32_t listener, char ret[SERVING_LABEL_SIZE]);

#endif
