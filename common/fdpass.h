/* Messages with descriptors over a Unix socket: the only place that touches SCM_RIGHTS.
 *
 * Owns:   sending borrows the descriptors; receiving gives them to the caller, close-on-exec.
 * Errors: functions return a size or -errno; on failure nothing that came is left open.
 * Source: unix(7), cmsg(3), recvmsg(2). */
#ifndef USHER_COMMON_FDPASS_H
#define USHER_COMMON_FDPASS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* The kernel takes no more in one message (SCM_MAX_FD). */
#define FDPASS_MAX 253

/* Sends one message, and never raises SIGPIPE. Returns its size or -errno; with -EAGAIN nothing
 * was sent, neither bytes nor descriptors. */
ssize_t fdpass_send(int socket, const struct iovec *parts, size_t n_parts, const int *fds,
		    size_t n_fds);

/* Receives one message of at most size bytes and at most max_fds descriptors (up to FDPASS_MAX).
 * Returns its size, 0 at the end of the stream, -EAGAIN when there is none, -EMSGSIZE when it was
 * longer than size, -EOVERFLOW when descriptors were lost on the way: more came than fit, or this
 * process may hold no more (MSG_CTRUNC does not say which). An empty message returns 0 as well, and
 * may still bring descriptors. */
ssize_t fdpass_recv(int socket, void *data, size_t size, int *fds, size_t max_fds,
		    size_t *ret_n_fds);

/* The same for messages that are of use without their descriptors: where those were lost, this
 * returns the message's size and sets *ret_lost, and those that came are closed. */
ssize_t fdpass_recv_lossy(int socket, void *data, size_t size, int *fds, size_t max_fds,
			  size_t *ret_n_fds, bool *ret_lost);

#endif
