/* Messages of users between two processes, with or without a socket or a server: one end of the
 * exchange, the same in a master and in a worker, on a channel that somebody else has opened.
 *
 *   mail           life, and the messages of the channel that are ours
 *   mail_out       what waits to be sent: messages in pieces
 *   mail_flight    the one handle in flight, and its answer
 *   mail_in        what comes: pieces put together, kept until somebody wants them
 *   handle         a socket or a server between its object and the channel
 *   tracking       who has sockets of which server
 *
 * A message arrives whole, once, and in order. A handle goes first, alone: the message and all that
 * was sent after it wait until the other end has it. Both ends may do so at once, since answers do
 * not wait.
 *
 * Owns:   a mail is the caller's from mail_open() to mail_free(); the channel, borrowed, must stay
 *         until mail_close(). Data is copied. A socket that was sent is gone when it has left, on
 *         whatever turn that is; until then it is open and may still end. A socket or server that
 *         came is the receiver's, once on_message was called.
 * Errors: functions return 0 or a negative number, -errno or enum net_err; so are statuses.
 * Order:  no function of the caller's runs inside a call of his. A completion runs once, on a later
 *         turn, with 0 when the other end has the handle and the kernel has all of the message.
 * Limits: MAIL_SIZE_MAX for a message, MAIL_QUEUE_MAX (MAIL_QUEUE_COUNT) for all that wait here.
 * What the other end has not yet wanted, IPC_MAIL_WINDOW, counts for the sender, so that more waits
 * there and the channel is never blocked for the other messages on it. Source: child_process and
 * cluster of Node.js; net-semantics of IP-1 to IP-14 in the tests. */
#ifndef USHER_COMMON_CLUSTER_MAIL_H
#define USHER_COMMON_CLUSTER_MAIL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/ipc/channel.h"
#include "common/net/net.h"

#define MAIL_SIZE_MAX    ((size_t)16 << 20)
#define MAIL_QUEUE_MAX   ((size_t)64 << 20)
#define MAIL_QUEUE_COUNT 65536

struct mail;

struct mail_message {
	const void *data; /* gone when the call returns */
	size_t size;
	struct net_server *server; /* the receiver's; at most one of the two is set */
	struct net_socket *socket;
};

struct mail_ops {
	/* A new socket or server has no ops yet: net_socket_set_ops() and net_server_set_ops()
	 * belong here. */
	void (*on_message)(struct mail *mail, const struct mail_message *message, void *ctx);
	/* A send failed that has no completion. May be NULL. */
	void (*on_error)(struct mail *mail, int status, void *ctx);
};

/* What goes with a message: at most one of server and socket. */
struct mail_handle {
	struct net_server *server; /* its listening socket is duplicated; it must be listening */
	struct net_socket *socket;
	bool keep_open; /* the socket stays open here too, and counted here */
};

typedef void mail_done_fn(struct mail *mail, int status, void *ctx);

/* ops and ctx are borrowed. The channel's drained function is ours from then on, and the channel
 * keeps the loop running only while messages are received or something is to be sent. -ENOMEM. */
int mail_open(struct ev_loop *loop, struct channel *channel, const struct mail_ops *ops, void *ctx,
	      struct mail **ret);

/* Whether messages are wanted. Until they are, and while they are not, they are kept. */
void mail_receive(struct mail *mail, bool wanted);

/* Sends a message; handle may be NULL. Returns 1 if more is welcome, 0 if the caller should wait
 * for done: 128 KiB are unsent, or more than one message waits behind a handle. Or, and then done
 * does not run: -EMSGSIZE, -ENOBUFS (too much waits), -ENOMEM, -EINVAL (a server and a socket),
 * NET_ERR_IPC_CHANNEL_CLOSED; of a socket -EALREADY (it connects), -ENOTCONN, -EBUSY (something is
 * queued to be written, or it is part of a pipe), NET_ERR_STREAM_DESTROYED; of a server
 * NET_ERR_SERVER_NOT_RUNNING, NET_ERR_INVALID_HANDLE_TYPE (it accepts nothing itself).
 * A socket leaves when it is its turn: one that has ended by then does not go with its message, and
 * so the second one of two that send the same socket comes without; one that has something to write
 * stays here, and done gets -EBUSY. done gets NET_ERR_IPC_CHANNEL_CLOSED when the channel ends
 * first; a socket that has not left is destroyed after it, unless done sends it elsewhere. It gets
 * an -errno of the other end's when that could not take the descriptor, four times; then it is
 * closed. */
int mail_send(struct mail *mail, const void *data, size_t size, const struct mail_handle *handle,
	      mail_done_fn *done, void *ctx);

/* Sends what waits, and nothing more: further sends are NET_ERR_IPC_CHANNEL_CLOSED. Then flushed is
 * called, on a later turn, with 0 or, if the channel was lost before, NET_ERR_IPC_CHANNEL_CLOSED;
 * the caller closes the channel, and should have a deadline for all this. Messages still come.
 * Returns NET_ERR_IPC_DISCONNECTED the second time or when closed. */
int mail_end(struct mail *mail, mail_done_fn *flushed, void *ctx);

/* Whether a message of the channel is one for mail_take(). */
bool mail_is_ours(enum ipc_type type);

/* A message that came. Returns 0 or, with a phrase in ret_why, what ends the channel: -EPROTO, or
 * the reason why it takes no answer. */
int mail_take(struct mail *mail, struct ipc_message *message, const char **ret_why);

/* The channel is closed, or about to be: it is used no more. What waits is answered with
 * NET_ERR_IPC_CHANNEL_CLOSED, on a later turn; whole messages that are kept still come. */
void mail_close(struct mail *mail);

/* Closes and frees; no function of the caller's runs after this call, completions included: close
 * first, and free when their turn was, to have them. NULL is allowed. May be called in any of our
 * callbacks. */
void mail_free(struct mail *mail);

#endif
