/* Who has sockets of which server: for each process that received one of a server the number that
 * it has, which net_server_get_connections() adds and for which the end of a closed server waits.
 *
 * A server has a key that no other of this process ever has, whatever its address. With each other
 * process it has at most one row; a socket costs nothing by itself. A process counts what it got by
 * the key, and answers two questions: how many are open, and tell me when none is. What was sent
 * and is not answered, or is to be sent again, counts here; an answer (ANSWERED, then a figure)
 * comes in order, so that each socket counts once. The other process's word is taken, but not for
 * more than it can have. What it sends on to a third one counts no more: it has told its end.
 *
 * Owns:   rows and stand-ins. Channel and context are borrowed until tracking_close().
 * Errors: 0 or -errno; what the other end did wrong is -EPROTO, with a phrase for the log.
 * Order:  a question has TRACKING_DEADLINE_MS, after which the last known figure counts. A process
 *         that is gone counts no more, and nobody waits for it.
 * Source: GC-1 to GC-5 and DF-4 to DF-6 of the requirements. */
#ifndef USHER_COMMON_CLUSTER_TRACKING_H
#define USHER_COMMON_CLUSTER_TRACKING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc/channel.h"
#include "common/net/context.h"
#include "common/net/net.h"

#define TRACKING_DEADLINE_MS 2000

/* What there is to know of one other process. The fields are the module's own. */
struct tracking {
	struct channel *channel; /* NULL: closed */
	struct net_context *context;
	LIST_HEAD(, tracking_row) rows;      /* of our servers, by what was sent there */
	LIST_HEAD(, tracking_ask) asks;      /* questions without an answer */
	LIST_HEAD(, tracking_guests) guests; /* what came from there, by key */
	uint32_t last_request;
};

void tracking_init(struct tracking *t, struct channel *channel, struct net_context *context);

/* The process is gone, or will be asked nothing more. */
void tracking_close(struct tracking *t);

/* --- the sender ------------------------------------------------------------------------------ */

/* Makes sure that sockets of server can be counted there, and gives its key. -ENOMEM. */
int tracking_prepare(struct tracking *t, struct net_server *server, uint64_t *ret_key);

/* A socket of that key has left, before its server counts one less; and whether it has arrived, or
 * is given up. Keys that are no more are ignored. */
void tracking_sent(struct tracking *t, uint64_t key);
void tracking_answered(struct tracking *t, uint64_t key, bool has_arrived);

/* --- the receiver ---------------------------------------------------------------------------- */

/* A socket came whose server has that key. -ENOMEM. */
int tracking_enter(struct tracking *t, uint64_t key, struct net_socket *s);

/* --- both ------------------------------------------------------------------------------------ */

/* One of the SOCKETS messages. */
int tracking_take(struct tracking *t, const struct ipc_message *message, const char **ret_why);

/* The channel has room again: says what it would not take. */
void tracking_drained(struct tracking *t);

#endif
