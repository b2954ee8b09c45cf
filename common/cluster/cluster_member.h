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
#include "common/cluster/taker.h"

struct member {
	struct cluster_worker worker;
	struct cluster *cluster; /* NULL: it was freed */
	TAILQ_ENTRY(member) link;
	struct process process;
	struct holder holder;
	struct taker taker;
	bool takes;               /* the dispatcher has its taker */
	const struct share *news; /* of which it is to be told that it listens there */
	struct defer fork_call;
	struct defer end_call;
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

/* --- cluster_tell ---------------------------------------------------------------------------- */

typedef void member_event_fn(struct cluster *cluster, struct cluster_worker *worker, void *ctx);

/* fn may be NULL. */
void member_tell(struct member *member, member_event_fn *fn);
void member_tell_exit(struct member *member);
void member_tell_error(struct member *member, int code, const char *syscall_name, const char *what);

/* --- cluster_serve --------------------------------------------------------------------------- */

/* It shares nothing yet; then it may be given connections, once it has joined. */
void member_init_shares(struct member *member);
void member_add_taker(struct member *member);
int member_join(struct member *member);

/* Takes a message about listening. -EPROTO: it is none. */
int member_take_listen(struct member *member, const struct ipc_message *message);

/* What it shares, and what was on its way to it, is for others now. Twice is fine. */
void member_let_go(struct member *member);

#endif
