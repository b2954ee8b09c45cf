/* Sockets and servers that go to another process: what of an object goes with its descriptor, and
 * the object that is made of both there.
 *
 * Owns:   transfer_detach() gives the descriptor to the caller; transfer_socket() and
 *         transfer_server() take one on success.
 * Errors: 0, -errno or enum net_err.
 * Order:  no function of the user's is called. An object that was made does nothing by itself until
 *         transfer_begin_*(), so that its user can first be told of it.
 * Source: net-socket state as in net(3) of Node.js; unix(7) for SCM_RIGHTS. */
#ifndef USHER_COMMON_NET_TRANSFER_H
#define USHER_COMMON_NET_TRANSFER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/addr.h"
#include "common/net/net.h"
#include "common/net/socket.h"

/* What the kernel does not keep with the descriptor. */
struct transfer {
	bool allow_half_open;
	bool paused; /* of a server: pause_on_connect */
	bool ended;  /* our side of the connection */
	bool no_delay;
	bool keep_alive;
	unsigned keep_alive_initial_delay_ms;
	uint32_t high_water_mark; /* as the object keeps it */
	size_t write_limit;
	uint8_t type_of_service;
	struct addr peer; /* of a connection, which may no longer know it */
};

/* No more unread bytes go with a socket. */
#define TRANSFER_UNREAD_MAX (SOCKET_UNSHIFT_MAX + 8)

/* 0 if the socket can be sent as it is now. -EALREADY while it connects, -ENOTCONN, -EBUSY as long
 * as something is queued to be written or it is part of a pipe, -ENOBUFS (too much is unread),
 * NET_ERR_STREAM_DESTROYED. */
int transfer_check(const struct net_socket *s);

void transfer_save_socket(const struct net_socket *s, struct transfer *ret);

/* Bytes that were read and not yet told: what an encoding holds back, and what was unshifted. */
size_t transfer_unread_size(const struct net_socket *s);
void transfer_copy_unread(const struct net_socket *s, void *data);

/* Takes the descriptor out of s, which transfer_check() allows: the server that accepted it counts
 * one less, no event comes any more, and s is gone on a later turn unless it is held. */
int transfer_detach(struct net_socket *s);

/* Borrowed; -1 without one. */
int transfer_fd(const struct net_socket *s);

/* s waits to be sent once more; it stays in memory until then. -ENOMEM. */
int transfer_hold(struct net_socket *s);
void transfer_release(struct net_socket *s);
bool transfer_waits(const struct net_socket *s);

/* From now on the descriptor of s is also another process's: its close is no longer the last. */
void transfer_share_socket(struct net_socket *s);

/* A connection, as it was saved. NET_ERR_INVALID_FD_TYPE, -ENOMEM. */
int transfer_socket(struct ev_loop *loop, int fd, const struct transfer *from,
		    struct net_socket **ret);
void transfer_begin_socket(struct net_socket *s);

/* NET_ERR_SERVER_NOT_RUNNING, or NET_ERR_INVALID_HANDLE_TYPE if it listens without a descriptor of
 * its own. *ret_fd is borrowed. */
int transfer_save_server(const struct net_server *server, struct transfer *ret, int *ret_fd);

/* A server that listens on fd, as it was saved. NET_ERR_INVALID_FD_TYPE if fd does not listen,
 * -ENOMEM. */
int transfer_server(struct ev_loop *loop, int fd, const struct transfer *from,
		    struct net_server **ret);
void transfer_begin_server(struct net_server *server);

#endif
