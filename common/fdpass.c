#include "common/fdpass.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"

union control {
	struct cmsghdr header; /* for its alignment */
	char space[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
};

ssize_t fdpass_send(int socket, const struct iovec *parts, size_t n_parts, const int *fds,
		    size_t n_fds)
{
	union control control;
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = n_parts};
	ssize_t sent;

	assert(n_fds <= FDPASS_MAX);
	if (n_fds > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		memset(&control, 0, message.msg_controllen);

		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}

	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent == -1 && errno == EINTR);
	return sent == -1 ? -errno : sent;
}

/* Moves the descriptors of every control header to fds; closes what exceeds max. Returns how many
 * came. */
static size_t collect(struct msghdr *message, int *fds, size_t max)
{
	size_t came = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;

		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++, came++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (came < max)
				fds[came] = fd;
			else
				close_fd(fd);
		}
	}
	return came;
}

ssize_t fdpass_recv_lossy(int socket, void *data, size_t size, int *fds, size_t max_fds,
			  size_t *ret_n_fds, bool *ret_lost)
{
	union control control;
	struct iovec part = {data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
	ssize_t received;
	size_t came;

	assert(max_fds <= FDPASS_MAX);

	/* CMSG_SPACE rounds up, so room for one descriptor also holds two: all are counted. */
	message.msg_controllen = CMSG_SPACE(max_fds * sizeof(int));
	do
		received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (received == -1 && errno == EINTR);
	if (received == -1)
		return -errno;

	came = collect(&message, fds, max_fds);
	*ret_lost = came > max_fds || message.msg_flags & MSG_CTRUNC;
	if (*ret_lost || message.msg_flags & MSG_TRUNC) {
		for (size_t i = 0; i < came && i < max_fds; i++)
			close_fd(fds[i]);
		came = 0;
	}
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	*ret_n_fds = came;
	return received;
}

ssize_t fdpass_recv(int socket, void *data, size_t size, int *fds, size_t max_fds,
		    size_t *ret_n_fds)
{
	bool lost = false;
	size_t n_fds = 0;
	ssize_t received = fdpass_recv_lossy(socket, data, size, fds, max_fds, &n_fds, &lost);

	if (received < 0 || lost)
		return received < 0 ? received : -EOVERFLOW;
	*ret_n_fds = n_fds;
	return received;
}
