/* The supervisor's side of net_server_listen() in a worker: sockets that workers ask for, each of
 * them opened once and held by all who asked for the same.
 *
 * A share is found by what was asked: the address as it was spelt, the port, the path or the
 * descriptor, and for port 0 how often the worker has asked for it before. So the first listen on
 * port 0 of every worker shares one port, and the second ones another. The options of the first who
 * asks win. A worker has a share once: a second server of it on the same address is -EADDRINUSE.
 *
 * A share is a socket as long as somebody holds it or waits for it. It goes, and the file of a path
 * with it, when the last holder has; a worker whose channel or process has ended, or that is told
 * to disconnect, holds nothing. Its connections may be counted longer.
 *
 * With shares_hand_off() no worker gets a socket: we accept on it, and connections go to those who
 * hold the share, as the policy says.
 *
 * A worker never gets what its user could not have: its sockets are opened, and their files
 * removed, with that user's rights, unless the program says that a port is granted. A Unix socket
 * is only bound here, and made to listen by the worker: clients are told who called listen(2).
 *
 * Owns:   shares, their sockets and their files. The rights, ops and the channels of holders are
 *         borrowed.
 * Errors: functions that take a message return 0, or -EPROTO for what breaks the rules of the
 *         channel. What a request meets is told to its worker: everybody who waits for a socket
 *         that cannot be opened, and then it is forgotten, so that the next one tries anew.
 * Order:  a name is looked up without waiting for it; who has gone meanwhile gets nothing, and
 *         with the last of them the lookup ends. Requests beyond SHARES_HELD_MAX and
 *         SHARES_WAITING_MAX of one worker are refused with -ENOBUFS. Callbacks must not end a
 *         holder.
 * Source: unix(7) SO_PEERCRED; "cluster" in the Node.js documents. */
#ifndef USHER_COMMON_CLUSTER_SHARES_H
#define USHER_COMMON_CLUSTER_SHARES_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cluster/dispatch.h"
#include "common/cluster/rights.h"
#include "common/cluster/share.h"
#include "common/ipc/channel.h"

/* One worker may have so many, and so many of them may wait for an answer. */
#define SHARES_HELD_MAX    256
#define SHARES_WAITING_MAX 64

enum share_permission {
	SHARE_REFUSED,    /* -EACCES */
	SHARE_BY_WORKER,  /* if the worker's user may have it */
	SHARE_BY_ANYBODY, /* even if only we may; for a path that is the same as BY_WORKER */
};

struct shares_ops {
	/* Whether a worker may have what it asks for. addr is NULL for a path, for a descriptor,
	 * and for a name before it is looked up; after that the question comes again. */
	enum share_permission (*permit)(struct holder *holder, const struct share_request *request,
					const struct addr *addr, void *ctx);
	/* The answer was no, or the kernel's was: for the log. */
	void (*on_refused)(struct holder *holder, const struct share_request *request, int error,
			   void *ctx);
	/* It joined a share whose first options were other ones. */
	void (*on_difference)(struct holder *holder, const struct share_request *request,
			      const char *option, void *ctx);
	/* A server in the worker listens. */
	void (*on_listening)(struct holder *holder, const struct share *share, void *ctx);
	/* Its channel takes no answer: it is of no use any more. */
	void (*on_unreachable)(struct holder *holder, int error, void *ctx);
};

/* All fields but list are the module's own. */
struct shares {
	struct ev_loop *loop;
	const struct rights *rights;
	const struct shares_ops *ops;
	void *ctx;
	struct dispatcher *dispatcher;
	enum policy policy;
	LIST_HEAD(, share) list;
	uint32_t last_id;
};

/* rights are those of the workers' user; NULL: ours. */
void shares_init(struct shares *shares, struct ev_loop *loop, const struct rights *rights,
		 const struct shares_ops *ops, void *ctx);

/* Of what is opened from now on the dispatcher gives the connections to the holders' takers. Ends
 * before the dispatcher does. A Unix socket is then shown to clients as ours. */
void shares_hand_off(struct shares *shares, struct dispatcher *dispatcher, enum policy policy);

/* Closes every share; answers nobody. Holders may end later, or not at all. */
void shares_done(struct shares *shares);

/* Begins a worker, who has nothing. taker is one of the dispatcher's, or NULL without hand-off. */
void holder_init(struct holder *holder, struct shares *shares, struct channel *channel,
		 struct taker *taker);

/* Take its messages LISTEN, SERVING and UNLISTEN. */
int shares_listen(struct holder *holder, const struct ipc_message *message);
int shares_serving(struct holder *holder, const struct ipc_message *message);
int shares_unlisten(struct holder *holder, const struct ipc_message *message);

/* Takes a row about a share from a message of the worker's that counts. */
int shares_counted(struct holder *holder, const struct ipc_counted_row *row);

/* The share with that id if the worker has it, or had it and may have connections; else NULL. */
const struct share *shares_of(const struct holder *holder, uint32_t id);

/* The worker is told to disconnect: it holds nothing from now on, and what it waits for or asks for
 * is answered with -ESHUTDOWN. */
void shares_disconnect(struct holder *holder);

/* Its channel or its process has ended. Twice is fine. */
void shares_end(struct holder *holder);

#endif
