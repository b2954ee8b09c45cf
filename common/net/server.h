/* What the modules of a server share, and what a worker's side of the cluster needs of it.
 *
 *   server          life, close, counting        server_listen   from options to a listening socket
 *   server_accept   from the queue to sockets
 *
 * Owns:   a server holds one reference to itself until net_server_free(), and one for each call
 *         that waits. Its sockets do not hold it: freeing it makes them forget it. */
#ifndef USHER_COMMON_NET_SERVER_H
#define USHER_COMMON_NET_SERVER_H

#include <ev.h>
#include <sys/queue.h>

#include "common/net/addr.h"
#include "common/net/bind.h"
#include "common/net/context.h"
#include "common/net/net.h"
#include "common/net/socket.h"

struct listening;

/* A completion that waits for its turn or for an event. */
struct server_call {
	STAILQ_ENTRY(server_call) link;
	struct defer call;
	struct net_server *server;
	net_server_fn *fn;
	net_count_fn *count;
	void *ctx;
	int status;
	size_t elsewhere;
};

/* Told later, once: how many there are elsewhere. */
typedef void server_counted_fn(size_t count, void *arg);

/* Who keeps count of the sockets of a server that were sent to other processes; set by him. */
struct server_remote {
	/* Asks; fn(count, arg) must be called once, on a later turn or from free. 0 or -ENOMEM. */
	int (*count)(struct server_remote *remote, server_counted_fn *fn, void *arg);
	/* The server is closed: whether none is left elsewhere. If not, server_remote_ended() must
	 * be called when that has become so. May be asked again. */
	bool (*close)(struct server_remote *remote);
	/* The server is gone. */
	void (*free)(struct server_remote *remote);
};

struct net_server {
	ev_io io;
	ev_timer pause; /* runs while accepting waits for descriptors or memory */
	struct net_context *context;
	const struct net_server_ops *ops; /* never NULL */
	void *ctx;
	struct net_server_options options;
	struct bound bound;          /* fd is -1 while it does not listen */
	struct listening *listening; /* a listen that is not yet bound */
	STAILQ_HEAD(, server_call) closers;
	struct defer close_call;
	LIST_HEAD(, net_socket) sockets; /* until their on_close, the newest first */
	size_t connections;              /* not counting destroyed ones */
	long max_connections;
	unsigned period; /* counts the listens, so that late events of an old one are known */
	unsigned refs;
	bool open;     /* from listen until close or failure */
	bool listens;  /* by bound, or somebody else does for it */
	bool closing;  /* closed, and on_close or completions are still to come */
	bool provided; /* the listening socket is the provider's */
	bool unreferenced;
	bool freed;
	bool stands_in;                       /* for another process's, whose sockets came here */
	struct server_remote *remote;         /* NULL: none of its sockets was ever sent */
	const struct server_sharing *sharing; /* NULL: nobody has to know */
	void *sharing_ctx;
	const struct server_gate *gate; /* NULL: it is always open */
	void *gate_ctx;
	bool parked;           /* nothing is watched, for the gate is shut */
	uint16_t spared_reads; /* see read_early() */
};

/* --- for a worker ---------------------------------------------------------------------------- */

/* Opens server without a socket of its own: its connections come by server_adopt(). It is closed
 * like any other. Returns 0 or NET_ERR_SERVER_ALREADY_LISTEN. */
int server_open_unbound(struct net_server *server);

/* Makes fd, an accepted connection of peer, a connection of server, as if it had been accepted
 * here. Owns fd in any case. Returns 0, -EBUSY at max_connections, NET_ERR_IP_BLOCKED, -ENOTCONN
 * (no on_connection), -ENOMEM. Must not be called inside a call of the user's. */
int server_adopt(struct net_server *server, int fd, const struct addr *peer);

/* What others must know of a server's wake-ups, most of all where they watch its socket, too. */
struct server_sharing {
	/* A wake-up took connections from fd, which listens. NULL: nobody has to know. */
	void (*accepted)(int fd, void *ctx);
	/* A wake-up was in vain: accept4() says error (-errno), there is no memory for a connection
	 * (-ENOMEM), or the kernel watches nothing more (0). For a moment the server is not woken.
	 */
	void (*is_short)(int error, void *ctx);
};

/* sharing and ctx are borrowed until the server is closed, or others come; NULL: none. */
void server_share(struct net_server *server, const struct server_sharing *sharing, void *ctx);

/* Somebody else's say in how many connections there may be: those that are too many wait in the
 * kernel's queue, where others may take them. */
struct server_gate {
	/* Asked before each accept4(). While it says false nothing is watched. */
	bool (*is_open)(void *ctx);
	/* The listening descriptor is no longer watched, and not to be woken for. */
	void (*on_parked)(int fd);
};

/* Must be called before listening. gate and ctx are borrowed until the server is closed. */
void server_set_gate(struct net_server *server, const struct server_gate *gate, void *ctx);

/* The gate may have opened: watches again. */
void server_unpark(struct net_server *server);

/* Accepts what waits as far as the gate lets it, without being woken for it. */
void server_accept_now(struct net_server *server);

/* Whether accepting waits for descriptors or memory. */
bool server_is_short(const struct net_server *server);

/* Takes what waits in the queue, so that closing resets nobody. */
void server_empty_queue(struct net_server *server);

/* The live connections of server from the newest to the oldest: the one after socket, or the first
 * if that is NULL. NULL: there is none. */
struct net_socket *server_next_connection(const struct net_server *server,
					  const struct net_socket *socket);

/* Whether one more connection would be within max_connections. */
bool server_has_room(const struct net_server *server);

/* A listen provider's answer for ticket: fd listens, or failed with status in syscall_name. Owns
 * fd. Without a descriptor (-1) the server stands for a socket elsewhere, which is bound to addr,
 * and its connections come by server_adopt(). addr may be NULL if there is fd. What is no longer
 * wanted is closed silently. */
void server_listened(struct net_server *server, unsigned ticket, int status, int fd,
		     const struct addr *addr, const char *syscall_name);

/* --- among the modules ----------------------------------------------------------------------- */

void server_hold(struct net_server *server);
void server_release(struct net_server *server);

void server_tell_error(struct net_server *server, const struct error_source *source);

/* Begins to listen on bound, which it owns from then on, and accepts nothing yet. */
void server_take_bound(struct net_server *server, const struct bound *bound);

/* One connection more. */
void server_enter(struct net_server *server, struct net_socket *s);

/* See struct server_remote. */
void server_remote_ended(struct net_server *server);

/* One connection less. */
void server_connection_ended(struct net_server *server);

/* Gives up a listen that is not yet bound; its completion gets -ECANCELED unless silent. */
void listen_cancel(struct net_server *server, bool silent);

/* Watches bound.fd, or stops that. */
void accept_start(struct net_server *server);
void accept_stop(struct net_server *server);

#endif
