/* A worker in its own process: what goes to the master, and how it ends.
 *
 *   open -> asked (it said LEAVING) -> draining (it was told DISCONNECT) -> closing -> closed
 *
 * Each but the first has a deadline, after which the channel is closed without further ado.
 *
 * Owns:   the channel, and what came over it. The servers are the user's.
 * Errors: 0 or -errno. */
#ifndef USHER_COMMON_CLUSTER_CLUSTER_SELF_H
#define USHER_COMMON_CLUSTER_CLUSTER_SELF_H

#include <ev.h>

#include "common/cluster/cluster_worker.h"
#include "common/cluster/intake.h"
#include "common/cluster/provider.h"
#include "common/ipc/channel.h"

enum self_state { SELF_OPEN, SELF_ASKED, SELF_DRAINING, SELF_CLOSING, SELF_CLOSED };

struct self {
	struct cluster_worker worker;
	struct ev_loop *loop;
	const struct cluster_worker_ops *ops; /* never NULL */
	void *ctx;
	struct channel channel;
	struct provider provider;
	struct intake intake;
	bool provides;
	enum self_state state;
	bool exits; /* the process, once the channel is closed */
	ev_timer deadline;
};

void self_set_deadline(struct self *self, unsigned timeout_ms);

/* Sends what waits, closes the channel, and tells; not inside the call. */
void self_finish(struct self *self);

/* --- cluster_self_serve ---------------------------------------------------------------------- */

int self_open_servers(struct self *self);
void self_close_servers(struct self *self);

/* Takes a message about listening. -EPROTO: it is none. */
int self_take_listen(struct self *self, struct ipc_message *message);

#endif
