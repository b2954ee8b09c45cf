/* What the servers and sockets of one loop share: the deferred calls and one buffer for reading.
 *
 * Owns:   a context lives as long as somebody holds a reference to it; the loop outlives it.
 * Order:  a loop belongs to one thread; the list of contexts is safe between threads.
 * Source: ev(3), "ev_loop_fork"; pthread_atfork(3). */
#ifndef USHER_COMMON_NET_CONTEXT_H
#define USHER_COMMON_NET_CONTEXT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/net/defer.h"

#define CONTEXT_BUFFER_SIZE 65536

struct net_server;
struct net_listen_options;

/* Takes over the listens of a loop, but for those that are exclusive, for reuse_port, or on the
 * socket of another object: this is how a worker's listens go to its supervisor. common/net needs
 * none. */
struct listen_provider {
	/* Starts to get a listening socket as options say (host is set as the caller gave it; fd is
	 * a number of the provider's, and no descriptor of ours). Later, never inside the call,
	 * server_listened(server, ticket, ...) must be called once. Returns 0 or a negative error.
	 * options are gone when the call returns. */
	int (*listen)(void *ctx, struct net_server *server,
		      const struct net_listen_options *options, unsigned ticket);
	/* The server no longer uses what it got, or gave up waiting for it. */
	void (*close)(void *ctx, struct net_server *server, unsigned ticket);
	/* A server that was closed, here or there, has no connection left. NULL: never mind. */
	void (*drained)(void *ctx, struct net_server *server);
};

/* Knows of which descriptors another process has a copy that was not sent by net_socket: closing
 * such a one alone ends nothing. Without it all may be copied. */
struct copy_keeper {
	bool (*has)(void *ctx, int fd);
	/* A socket's descriptor is about to be closed or given away; ended: both sides have said
	 * their end, so that the peer waits for nothing. Returns whether there is a copy. */
	bool (*closing)(void *ctx, int fd, bool ended);
	/* Whether there is a copy that its owner will not close soon: the end cannot wait for it.
	 */
	bool (*lingers)(void *ctx, int fd);
};

struct net_context {
	SLIST_ENTRY(net_context) link;
	struct ev_loop *loop;
	int set; /* unwatch()'s: which it was when that last asked; -1: it has not */
	bool forked;
	unsigned forked_at; /* by ev_iteration(3) */
	unsigned refs;
	struct defer_queue calls;
	const struct listen_provider *provider;
	void *provider_ctx;
	uint64_t last_us;
	const struct copy_keeper *keeper;
	void *keeper_ctx;
	char *text; /* room for a decoded buffer; NULL until a socket has an encoding */
	/* What a read brings is only ever here while its callback runs. */
	char buffer[CONTEXT_BUFFER_SIZE];
};

/* The context of loop, made if there is none, with one more reference. -ENOMEM. */
int context_get(struct ev_loop *loop, struct net_context **ret);
void context_hold(struct net_context *context);
void context_put(struct net_context *context);

/* Whether this process was forked, and the loop has not run since: what it sleeps on is what its
 * parent's loop sleeps on. */
bool context_has_parents_set(struct net_context *context);

/* Makes sure that there is text. -ENOMEM. */
int context_need_text(struct net_context *context);

/* The time in microseconds of CLOCK_MONOTONIC, or a little more: no two calls for a loop give the
 * same, so that what it is given to has a number and an age in one. */
uint64_t context_now_us(struct net_context *context);

/* provider is borrowed until it is replaced; NULL: every server listens by itself, and what was
 * provided before is not given back. Hold a reference to the context while a provider is set. */
void context_set_listen_provider(struct net_context *context,
				 const struct listen_provider *provider, void *ctx);

/* Tells the provider, if there is one, that server no longer uses ticket. */
void context_give_back(struct net_context *context, struct net_server *server, unsigned ticket);

/* keeper is borrowed until it is replaced; NULL: none. Hold a reference to the context meanwhile.
 */
void context_set_copy_keeper(struct net_context *context, const struct copy_keeper *keeper,
			     void *ctx);

/* Whether another process may have a copy of fd. */
bool context_may_be_copied(const struct net_context *context, int fd);

/* Whether closing fd ends nothing for a long time. */
bool context_lingers(const struct net_context *context, int fd);

/* A socket is about to lose fd. Returns whether the keeper knows of a copy. */
bool context_closing(struct net_context *context, int fd, bool ended);

/* Tells it that server, which was closed, has no connections. */
void context_tell_drained(struct net_context *context, struct net_server *server);

#endif
