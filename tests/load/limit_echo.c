/* The least an echo server can do on this kernel: recv and send, one buffer for all connections,
 * memory for one only while the peer does not read. See bare.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/load/bare.h"

/* What the kernel did not take of the last read. Nothing is read meanwhile. */
struct rest {
	size_t sent;
	size_t size;
	char bytes[];
};

static struct rest **rests; /* by descriptor */

static int start(size_t fds)
{
	rests = calloc(fds, sizeof(struct rest *));
	return rests ? 0 : -1;
}

static void accepted(int fd)
{
	if (bare_watch(fd, EPOLLIN) == -1)
		close(fd);
}

static void end(int fd)
{
	free(rests[fd]);
	rests[fd] = NULL;
	close(fd);
}

static void end_unless_early(int fd)
{
	if (errno != EAGAIN && errno != EINTR)
		end(fd);
}

static void keep_rest(int fd, const char *bytes, size_t size)
{
	struct rest *rest = malloc(sizeof(*rest) + size);

	if (!rest) {
		end(fd);
		return;
	}
	rest->sent = 0;
	rest->size = size;
	memcpy(rest->bytes, bytes, size);
	rests[fd] = rest;
	bare_change(fd, EPOLLOUT);
}

static void send_rest(int fd)
{
	struct rest *rest = rests[fd];
	ssize_t n = send(fd, rest->bytes + rest->sent, rest->size - rest->sent, MSG_NOSIGNAL);

	if (n < 0) {
		end_unless_early(fd);
		return;
	}
	rest->sent += (size_t)n;
	if (rest->sent < rest->size)
		return;
	free(rest);
	rests[fd] = NULL;
	bare_change(fd, EPOLLIN);
}

static void echo(int fd)
{
	ssize_t size = recv(fd, bare_buffer, sizeof(bare_buffer), 0);
	ssize_t n;

	if (size < 0) {
		end_unless_early(fd);
		return;
	}
	if (size == 0) {
		end(fd);
		return;
	}
	bare_counts->reads++;
	bare_counts->bytes += (uint64_t)size;

	n = send(fd, bare_buffer, (size_t)size, MSG_NOSIGNAL);
	if (n < size)
		keep_rest(fd, bare_buffer + (n > 0 ? n : 0), (size_t)(n > 0 ? size - n : size));
}

static void event(int fd, uint32_t events)
{
	if (rests[fd])
		send_rest(fd);
	else
		echo(fd);
}

int main(int argc, char *argv[])
{
	static const struct bare_program program = {
		.name = "limit_echo",
		.usage = "",
		.start = start,
		.accepted = accepted,
		.event = event,
	};

	return bare_main(argc, argv, &program);
}
