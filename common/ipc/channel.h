/* One end of the channel between supervisor and worker, on an event loop. Not thread-safe.
 *
 * Owns:   the socket from channel_open() on; closed by channel_close(). Messages that the kernel
 *         does not take yet wait here in a bounded queue, with duplicates of their descriptors.
 * Errors: functions return 0 or -errno. That the kernel has no memory, or too many descriptors are
 *         on their way, is no fault of the other end: the message waits, and is tried again.
 * Order:  messages arrive in the order they were sent. on_lost comes once, when the other end has
 *         closed, takes no more, or has sent what no end may send; nothing is received after it.
 *         What was sent before a close is received first. An empty packet looks like a close and
 *         counts as one.
 *         A callback may call channel_close(), but must leave the memory of the channel until it
 *         has returned.
 * Source: unix(7): SOCK_SEQPACKET keeps message boundaries. */
#ifndef USHER_COMMON_IPC_CHANNEL_H
#define USHER_COMMON_IPC_CHANNEL_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "common/ipc/messages.h"

/* What one end may leave unread before the other gives it up (-ENOBUFS). */
#define CHANNEL_QUEUE_BYTES    (4u << 20)
#define CHANNEL_QUEUE_MESSAGES 4096

struct channel;

/* Descriptors that are left in message->fds are closed after the call. */
typedef void channel_message_fn(struct channel *channel, struct ipc_message *message, void *ctx);

/* error is 0 when the other end closed, else -errno; why is a phrase for the log. */
typedef void channel_lost_fn(struct channel *channel, int error, const char *why, void *ctx);

struct channel_ops {
	channel_message_fn *on_message;
	channel_lost_fn *on_lost;
};

/* What was queued has left, or what was short may be there again: it is the time to send more. */
typedef void channel_drained_fn(struct channel *channel, void *ctx);

STAILQ_HEAD(channel_queue, channel_packet);

/* All fields are the module's own. */
struct channel {
	struct ev_loop *loop;
	ev_io reader;
	ev_io writer;
	ev_timer retry; /* while something is short */
	int fd;         /* -1: closed */
	enum ipc_side other;
	const struct channel_ops *ops;
	void *ctx;
	struct channel_queue queue;
	size_t queued_bytes;
	size_t queued_messages;
	size_t received; /* bytes */
	channel_drained_fn *drained;
	void *drained_ctx;
	bool unreferenced;
};

/* A pair of connected sockets for a channel: non-blocking, close-on-exec. */
int channel_pair(int ret_fds[2]);

/* Starts to receive on fd, which is a connected SOCK_SEQPACKET socket. ops and ctx are borrowed.
 * On failure fd stays the caller's, and the channel is closed. */
int channel_open(struct channel *channel, struct ev_loop *loop, int fd, enum ipc_side side,
		 const struct channel_ops *ops, void *ctx);

/* fn is called whenever the queue has become empty, but not by a close; and a while after a message
 * was not queued because something is short. So whoever could not send may wait for it. NULL:
 * nobody. */
void channel_when_drained(struct channel *channel, channel_drained_fn *fn, void *ctx);

/* Whether nothing waits, so that a message would go to the kernel at once. */
bool channel_is_drained(const struct channel *channel);

/* An unreferenced channel does not keep the loop running, unless something is queued. */
void channel_ref(struct channel *channel);
void channel_unref(struct channel *channel);

/* Closes at once; what is queued is lost. Closing twice is allowed. */
void channel_close(struct channel *channel);

/* Receives all that has come by now, and if the other end has closed tells that as well: for an end
 * that is known to send no more. Whoever else has that end may go on: nobody waits for him. */
void channel_finish(struct channel *channel);

/* Sends a message of the table, or queues it. fds are as many as the table says, and borrowed.
 * Returns 0, -EPIPE when the channel is closed or the other end takes no more (which on_lost then
 * tells from the loop), -ENOBUFS when the queue is full, -ENOMEM or -EMFILE when there is nothing
 * to queue it with, -EMSGSIZE, or what else sending met. */
int channel_send(struct channel *channel, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds);

/* The same for who has nothing to do when the other end has gone: that is on_lost's to tell, and 0
 * here. */
int channel_tell(struct channel *channel, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds);

#endif
