/* A worker as its master has it: the process, what it says, and the events that follow from it.
 *
 *   forked -> online -> leaving -> disconnected and exited, in any order, each once
 *
 * Owns:   the process until it has ended. The cluster's ops are borrowed.
 * Order:  as in <usher/cluster.h>. A user's function may free the cluster, so after each of them
 *         a member looks whether it still has one. */
#ifndef USHER_COMMON_CLUSTER_CLUSTER_MEMBER_H
#define USHER_COMMON_CLUSTER_CLUSTER_MEMBER_H

#include <sys/queue.h>

#include "common/cluster/cluster_settings.h"
#include "common/cluster/cluster_worker.h"
#include "common/cluster/process.h"
#include "common/cluster/share.h"

struct member {
	struct cluster_worker worker;
	struct cluster *cluster; /* NULL: it was freed */
	TAILQ_ENTRY(member) link;
	struct process process;
	struct holder holder;
	const struct share *news; /* of which it is to be told that it listens there */
	struct defer fork_call;
	unsigned timeout_ms; /* for a disconnect */
	char *path;          /* of its program, and where it goes first, for errors */
	char *cwd;
	bool listed; /* in cluster.workers */
	bool greeted;
	bool leaving;
	bool terminated;   /* was sent SIGTERM, for it was too late */
	bool disconnected; /* has been told, as the next */
	bool exited;
};

TAILQ_HEAD(member_list, member);

/* Starts the process of worker id; on failure there is no member. */
int member_fork(struct cluster *cluster, struct net_context *context,
		const struct cluster_setup *setup, const char *const *env, unsigned id,
		struct member **ret);

/* What cluster_worker_disconnect() does. */
int member_disconnect(struct member *member);

/* The cluster goes: no event comes any more. The member is gone unless it is held. */
void member_orphan(struct member *member);

#endif
