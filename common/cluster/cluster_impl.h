/* What the modules of a master know of it.
 *
 *   cluster          the set of workers     cluster_settings     what they execute
 *   cluster_member   one of them            cluster_tell         its events
 *   cluster_serve    its servers            cluster_mail         its messages
 *   cluster_self     one in its own process, with cluster_self_serve */
#ifndef USHER_COMMON_CLUSTER_CLUSTER_IMPL_H
#define USHER_COMMON_CLUSTER_CLUSTER_IMPL_H

#include "common/cluster/cluster_member.h"
#include "common/cluster/dispatch.h"
#include "common/cluster/shares.h"

struct cluster_goodbye;

struct cluster {
	struct ev_loop *loop;
	const struct cluster_ops *ops; /* never NULL */
	void *ctx;
	struct net_context *context;
	struct cluster_setup setup;
	struct dispatcher dispatcher;
	struct shares shares;
	struct member_list members; /* until both disconnected and dead, and all that was told */
	unsigned last_id;
	TAILQ_HEAD(, cluster_goodbye) goodbyes; /* who waits for the last to disconnect */
};

/* A member is disconnected, or has nothing more to tell. */
void cluster_disconnected(struct cluster *cluster);

/* What is shared with members, and given to them. */
extern const struct dispatch_ops cluster_dispatch_ops;
extern const struct shares_ops cluster_shares_ops;

#endif
