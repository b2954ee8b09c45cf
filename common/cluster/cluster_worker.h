/* What the two ends of a worker share: its object in the master (cluster_member) and the one in its
 * own process (cluster_self).
 *
 * Owns:   the reference that cluster_worker_init() makes is the end's own, for as long as an event
 *         may come; when the last goes, the end's free is called, on a turn of its own if that is
 *         inside a callback.
 * Order:  each call of a user's function stands between cluster_worker_enter() and _leave(). */
#ifndef USHER_COMMON_CLUSTER_CLUSTER_WORKER_H
#define USHER_COMMON_CLUSTER_CLUSTER_WORKER_H

#include "common/cluster/cluster.h"
#include "common/cluster/mail.h"
#include "common/net/context.h"

struct cluster_worker_end {
	int (*set_ops)(struct cluster_worker *worker, const struct cluster_worker_ops *ops,
		       void *ctx);
	int (*disconnect)(struct cluster_worker *worker);
	int (*kill)(struct cluster_worker *worker, int signal);
	void (*free)(struct cluster_worker *worker);
	/* What came, and what could not be sent. */
	void (*tell_message)(struct cluster_worker *worker, const struct cluster_message *message);
	void (*tell_error)(struct cluster_worker *worker, int code);
};

struct cluster_worker {
	const struct cluster_worker_end *end;
	unsigned id;
	pid_t pid;
	bool connected; /* more can be sent */
	bool dead;
	bool voluntary; /* exitedAfterDisconnect */
	struct mail *mail;

	/* the module's */
	struct net_context *context;
	unsigned refs;
	unsigned calling; /* user's functions that run */
	struct defer free_call;
	LIST_HEAD(, cluster_sent) sends; /* with a completion to come */
};

/* The context's reference becomes the worker's. */
void cluster_worker_init(struct cluster_worker *worker, const struct cluster_worker_end *end,
			 struct net_context *context);

void cluster_worker_enter(struct cluster_worker *worker);
void cluster_worker_leave(struct cluster_worker *worker);

/* Begins to exchange messages over channel. -ENOMEM. */
int cluster_worker_open_mail(struct cluster_worker *worker, struct channel *channel);

/* No more is sent or comes; completions still do, on a later turn, unless it is freed. */
void cluster_worker_close_mail(struct cluster_worker *worker);
void cluster_worker_free_mail(struct cluster_worker *worker);

/* Gives up the rest: for the end's free. */
void cluster_worker_done(struct cluster_worker *worker);

/* Fills *ret with an error, and its text with "SYSCALL CODE WHAT"; syscall_name and what may be
 * NULL. */
void cluster_worker_error(int code, const char *syscall_name, const char *what, char *text,
			  size_t size, struct net_error *ret);

#endif
