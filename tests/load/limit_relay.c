/* The least a TCP relay can do on this kernel: a connection to --to for each that is accepted, and
 * bytes moved both ways, by copying through one buffer or, with --to splice:..., by splice(2)
 * through a pipe for each direction. See bare.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/number.h"
#include "tests/load/bare.h"

#define SPLICE_SIZE (1 << 20)
#define PIPE_SIZE   (1 << 18)

/* One end of a relayed connection. What came from it and its other end did not take waits in a
 * copy (rest) or in its pipe (held); it is not read meanwhile. */
struct end {
	int other; /* -1: the slot is free */
	bool connecting;
	bool ended; /* it has said all */
	char *rest;
	size_t rest_size, rest_sent;
	int pipe[2];
	size_t held;
};

static struct end *ends; /* by descriptor */
static struct sockaddr_in target;
static bool by_splice;

static int set_target(const char *text)
{
	const char *colon;
	char host[INET_ADDRSTRLEN];
	uint64_t port;

	by_splice = strncmp(text, "splice:", 7) == 0;
	if (by_splice)
		text += 7;
	colon = strchr(text, ':');
	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -1;
	snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
	if (inet_pton(AF_INET, host, &target.sin_addr) != 1 ||
	    number_parse(colon + 1, UINT16_MAX, &port) < 0)
		return -1;
	target.sin_family = AF_INET;
	target.sin_port = htons((uint16_t)port);
	return 0;
}

static int start(size_t fds)
{
	ends = calloc(fds, sizeof(*ends));
	for (size_t i = 0; ends && i < fds; i++)
		ends[i] = (struct end){.other = -1, .pipe = {-1, -1}};
	return ends && target.sin_port ? 0 : -1;
}

static void free_end(int fd)
{
	struct end *e = &ends[fd];

	free(e->rest);
	if (e->pipe[0] >= 0) {
		close(e->pipe[0]);
		close(e->pipe[1]);
	}
	*e = (struct end){.other = -1, .pipe = {-1, -1}};
	close(fd);
}

static void end_pair(int fd)
{
	int other = ends[fd].other;

	free_end(fd);
	free_end(other);
}

static bool waits(const struct end *e)
{
	return e->rest || e->held > 0;
}

/* Read what may be read, be told of room where bytes wait for it. EPOLLHUP cannot be switched off:
 * of an end that waits it is told once, and again when the end may be read. */
static void watch_end(int fd)
{
	const struct end *e = &ends[fd];
	bool read = !e->connecting && !e->ended && !waits(e) && !ends[e->other].connecting;
	bool write = e->connecting || waits(&ends[e->other]);

	bare_change(fd, read || write ? (read ? EPOLLIN : 0) | (write ? EPOLLOUT : 0) : EPOLLET);
}

static void watch_pair(int fd)
{
	watch_end(fd);
	watch_end(ends[fd].other);
}

static bool open_pipe(int fds[2])
{
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1)
		return false;
	/* Less room is slower and no more. */
	(void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

static void accepted(int fd)
{
	int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (out == -1) {
		close(fd);
		return;
	}
	ends[fd].other = out;
	ends[out].other = fd;
	ends[out].connecting = connect(out, (struct sockaddr *)&target, sizeof(target)) == -1 &&
			       errno == EINPROGRESS;
	if ((by_splice && (!open_pipe(ends[fd].pipe) || !open_pipe(ends[out].pipe))) ||
	    bare_watch(fd, ends[out].connecting ? 0 : EPOLLIN) == -1 ||
	    bare_watch(out, ends[out].connecting ? EPOLLOUT : EPOLLIN) == -1)
		end_pair(fd);
}

static void connected(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1 || error) {
		end_pair(fd);
		return;
	}
	ends[fd].connecting = false;
	watch_pair(fd);
}

static bool early(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* The other end is told once all is there; both ended is the end of the pair. */
static void has_ended(int fd)
{
	struct end *e = &ends[fd];

	e->ended = true;
	shutdown(e->other, SHUT_WR);
	if (ends[e->other].ended)
		end_pair(fd);
	else
		watch_pair(fd);
}

/* --- by copying ----------------------------------------------------------------------------- */

static void copy_from(int fd)
{
	struct end *e = &ends[fd];
	ssize_t size = recv(fd, bare_buffer, sizeof(bare_buffer), 0);
	ssize_t n;

	if (size == 0)
		has_ended(fd);
	if (size < 0 && !early())
		end_pair(fd);
	if (size <= 0)
		return;
	bare_counts->reads++;
	bare_counts->bytes += (uint64_t)size;

	n = send(e->other, bare_buffer, (size_t)size, MSG_NOSIGNAL);
	if (n == size)
		return;
	if (n < 0 && !early()) {
		end_pair(fd);
		return;
	}
	e->rest_sent = 0;
	e->rest_size = (size_t)(n > 0 ? size - n : size);
	e->rest = malloc(e->rest_size);
	if (!e->rest) {
		end_pair(fd);
		return;
	}
	memcpy(e->rest, bare_buffer + (n > 0 ? n : 0), e->rest_size);
	watch_pair(fd);
}

static void send_rest_of(int fd)
{
	struct end *e = &ends[fd];
	ssize_t n = send(e->other, e->rest + e->rest_sent, e->rest_size - e->rest_sent,
			 MSG_NOSIGNAL);

	if (n < 0 && !early())
		end_pair(fd);
	if (n < 0)
		return;
	e->rest_sent += (size_t)n;
	if (e->rest_sent < e->rest_size)
		return;
	free(e->rest);
	e->rest = NULL;
	watch_pair(fd);
}

/* --- by splice ------------------------------------------------------------------------------ */

static void empty_pipe_of(int fd)
{
	struct end *e = &ends[fd];
	ssize_t n = splice(e->pipe[0], NULL, e->other, NULL, e->held, SPLICE_F_NONBLOCK);

	if (n < 0 && !early()) {
		end_pair(fd);
		return;
	}
	if (n > 0)
		e->held -= (size_t)n;
	watch_pair(fd);
}

static void splice_from(int fd)
{
	struct end *e = &ends[fd];
	ssize_t size = splice(fd, NULL, e->pipe[1], NULL, SPLICE_SIZE, SPLICE_F_NONBLOCK);
	ssize_t n;

	if (size == 0)
		has_ended(fd);
	if (size < 0 && !early())
		end_pair(fd);
	if (size <= 0)
		return;
	bare_counts->reads++;
	bare_counts->bytes += (uint64_t)size;

	n = splice(e->pipe[0], NULL, e->other, NULL, (size_t)size, SPLICE_F_NONBLOCK);
	if (n == size)
		return;
	if (n < 0 && !early()) {
		end_pair(fd);
		return;
	}
	e->held = (size_t)(n > 0 ? size - n : size);
	watch_pair(fd);
}

static void event(int fd, uint32_t events)
{
	int other = ends[fd].other;

	if (other == -1)
		return; /* it went with its other end, in the same batch */
	if (ends[fd].connecting) {
		connected(fd);
		return;
	}
	if (events & EPOLLERR) {
		end_pair(fd);
		return;
	}
	if (events & EPOLLOUT && waits(&ends[other])) {
		if (by_splice)
			empty_pipe_of(other);
		else
			send_rest_of(other);
	} else if (events & EPOLLIN) {
		if (by_splice)
			splice_from(fd);
		else
			copy_from(fd);
	}
}

int main(int argc, char *argv[])
{
	static const struct bare_program program = {
		.name = "limit_relay",
		.usage = " --to [splice:]ADDRESS:PORT",
		.option = set_target,
		.start = start,
		.accepted = accepted,
		.event = event,
	};

	return bare_main(argc, argv, &program);
}
