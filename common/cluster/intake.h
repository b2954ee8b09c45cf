/* The worker's side of a hand-off: connections that come accepted become connections of servers.
 *
 *   inbox    what came and is not taken     handed   what was taken and may have a copy elsewhere
 *
 * Owns:   what has come, until it is a server's. Channel, context, ops and ctx are borrowed.
 * Errors: 0 or -errno; -EPROTO for what no supervisor of ours sends.
 * Order:  once in each turn of the loop, before it sleeps, each connection that came is taken and
 *         given to its server before the next one is: a user may close the server meanwhile, and
 *         those that are not taken are another worker's then. The supervisor is told when all are
 *         given, and again when their deferred calls have run. Watchers of this do not keep the
 *         loop running.
 * Source: common/ipc/messages.h and claims.h say what is promised to whom. */
#ifndef USHER_COMMON_CLUSTER_INTAKE_H
#define USHER_COMMON_CLUSTER_INTAKE_H

#include <ev.h>
#include <stdbool.h>

#include "common/cluster/handed.h"
#include "common/cluster/inbox.h"
#include "common/ipc/channel.h"
#include "common/net/context.h"

/* Rows in one PROGRESS message; what does not fit waits for the next turn of the loop. */
#define INTAKE_ROWS_MAX 4096

struct intake_ops {
	/* Who gets connections of a listener, NULL: nobody any more, and they are refused; and the
	 * tally of those that have ended, which may be left alone where there is none. */
	struct net_server *(*server_of)(uint32_t listener, uint32_t *ret_tally, void *ctx);
	/* May be NULL: one of a listener's is its server's now; with -errno it was closed. */
	void (*on_given)(uint32_t listener, int error, void *ctx);
	/* May be NULL: once in each turn of the loop, when all that was taken has been given. What
	 * is accepted here has its deferred calls before on_settled. */
	void (*on_admitted)(void *ctx);
	/* May be NULL: once in each turn of the loop, when all that was taken and given has been
	 * told, and the channel has room. */
	void (*on_settled)(void *ctx);
	/* Numbers of connections that the supervisor wants to know and does not; how many rows. */
	size_t (*news)(struct ipc_counted_row *rows, size_t room, void *ctx);
	/* The supervisor cannot be told what it must know. */
	void (*on_failed)(int error, void *ctx);
};

/* All fields are the module's own. */
struct intake {
	struct channel *channel;
	struct net_context *context;
	const struct intake_ops *ops;
	void *ctx;
	struct claims claims;
	struct handed handed;
	struct inbox inbox;
	ev_prepare settle;
	ev_prepare tell;
	bool ends;        /* what comes is refused */
	bool takes;       /* at this moment: what there is to tell is told after it, once */
	bool tells;       /* the supervisor wants numbers */
	bool rings;       /* it is to look at the claims */
	uint32_t told;    /* up to this one it was told to look */
	uint32_t let_go;  /* copies that it had closed when we last looked */
	unsigned n_ended; /* that passed a copy since */
};

void intake_init(struct intake *intake, struct channel *channel, struct net_context *context,
		 const struct intake_ops *ops, void *ctx);

/* Closes what no server has. */
void intake_done(struct intake *intake);

/* Take the messages CLAIMS and HANDOFF. */
int intake_claims(struct intake *intake, struct ipc_message *message);
int intake_handoff(struct intake *intake, struct ipc_message *message);

/* The supervisor wants numbers from now on. */
void intake_tell(struct intake *intake);

/* Takes what has come now, and has the supervisor look though it has not read what it was told
 * before. Servers get their connections inside this and the next one. */
void intake_take_now(struct intake *intake);

/* What came before is ours still; what comes from now on is refused. */
void intake_end(struct intake *intake);

#endif
