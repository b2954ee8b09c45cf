/* The worker's side of net_server_listen(): what the servers of a loop listen on is asked for over
 * the channel, and comes from the supervisor, who gives the same socket to other workers too.
 *
 * Owns:   the provider of the loop's context, and notes of the servers that have or want a socket.
 *         The servers are the user's; the channel, the intake and ops are the caller's.
 * Errors: functions that take a message return 0, or -EPROTO for what no supervisor of ours sends.
 *         A listen that cannot be asked for returns -EPIPE when the channel has ended, -ESHUTDOWN
 *         after provider_disconnect(), -ENAMETOOLONG, or what channel_send() says. What waits for
 *         an answer when the channel ends gets -EPIPE.
 * Order:  callbacks of servers run inside the functions that take a message, and provider_lost(),
 * so those are called from the loop, and not from a user's call. Source: common/net/context.h,
 * struct listen_provider; "cluster" in the Node.js documents. */
#ifndef USHER_COMMON_CLUSTER_PROVIDER_H
#define USHER_COMMON_CLUSTER_PROVIDER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc/channel.h"

struct intake;
struct net_context;
struct net_server;

struct provider_ops {
	/* How to watch a socket that others watch, too; each may be NULL. fd is about to be the
	 * server's; it rests; and it was closed, and before that taken out of the loop's set. */
	void (*on_shared)(struct net_server *server, int fd, void *ctx);
	void (*on_parked)(int fd);
	void (*on_unshared)(struct net_server *server, int fd);
	/* No server has a socket or a connection of one any more. */
	void (*on_idle)(void *ctx);
	/* The supervisor cannot be told what it must know. */
	void (*on_failed)(int error, void *ctx);
};

struct provided;
struct provider_turn;

/* All fields are the module's own. */
struct provider {
	struct channel *channel;
	struct intake *intake;
	struct net_context *context;
	const struct provider_ops *ops;
	void *ctx;
	LIST_HEAD(, provided) list;
	SLIST_HEAD(, provider_turn) turns;
	uint32_t last_request;
	bool disconnects;
	bool lost;
	bool rests;
};

/* From now on the listens of the loop come here. Connections that come accepted come by intake, of
 * the same channel, which may be made after this, but before the first message. */
int provider_init(struct provider *provider, struct ev_loop *loop, struct channel *channel,
		  struct intake *intake, const struct provider_ops *ops, void *ctx);

/* Servers that are left go on with what they have. */
void provider_done(struct provider *provider);

/* Take the messages LISTENED, LISTENED_APART and NOT_LISTENED. */
int provider_listened(struct provider *provider, struct ipc_message *message);
int provider_listened_apart(struct provider *provider, const struct ipc_message *message);
int provider_refused(struct provider *provider, const struct ipc_message *message);

/* The channel has ended. */
void provider_lost(struct provider *provider);

/* Servers accept nothing from the sockets that they have from here, or get meanwhile: what comes
 * waits in the queue for other workers, or for provider_resume(). Connections stay. Each twice is
 * fine, and provider_disconnect() ends the rest. */
void provider_rest(struct provider *provider);
void provider_resume(struct provider *provider);

/* Looks whether somebody waits for the server of a listener, though nobody woke us for him. */
void provider_nudge(struct provider *provider, uint32_t listener);

/* Closes all servers that have a socket from here, with empty_queue after accepting what waits. */
void provider_disconnect(struct provider *provider, bool empty_queue);

/* Ends all connections of servers that have or had a socket from here; returns how many. */
size_t provider_end_connections(struct provider *provider);

/* Whether no server has a socket from here, waits for one, or has connections of one. */
bool provider_is_idle(const struct provider *provider);

/* The server whose connections come accepted, under that number; NULL: it is closed, or there is
 * none. */
struct net_server *provider_server(const struct provider *provider, uint32_t listener);

/* Fills in the connections of those servers of which the supervisor wants to know, and does not. */
size_t provider_news(struct provider *provider, struct ipc_counted_row *ret, size_t room);

/* Fills in the connections by listener, of as many listeners as there is room for; returns of how
 * many. */
size_t provider_count(const struct provider *provider, struct ipc_counted_row *ret, size_t room);

/* Calls fn for each server that has connections by a socket from here, or may get some, with the
 * listener that they count for. fn must not change servers. */
typedef void provider_server_fn(uint32_t listener, struct net_server *server, void *ctx);
void provider_each_server(const struct provider *provider, provider_server_fn *fn, void *ctx);

#endif
