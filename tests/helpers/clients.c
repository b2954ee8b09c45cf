#include "tests/helpers/clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"

#define TEXT_MAX 4096

/* Those below have limits of time, so that a signal ends a wait of theirs, see signal(7): they are
 * called again, a connect as well, which then goes on. */

/* from: NULL for any address. */
static int try_connect_from(const struct sockaddr_in *from, const struct sockaddr *address,
			    socklen_t size)
{
	const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
	AUTO_CLOSE int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		return -errno;
	/* The port is chosen at the connect: else it would be one that nobody else may use. */
	if (from &&
	    (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){1}, sizeof(int)) == -1 ||
	     bind(fd, (const struct sockaddr *)from, sizeof(*from)) == -1))
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
	    TEMP_FAILURE_RETRY(connect(fd, address, size)) == -1)
		return -errno;
	return take_fd(&fd);
}

static int try_connect(const struct sockaddr *address, socklen_t size)
{
	return try_connect_from(NULL, address, size);
}

int connect_tcp_from(uint32_t address, int port)
{
	const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(address)}};
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
		.sin_port = htons((uint16_t)port),
	};
	int fd = try_connect_from(&from, (const struct sockaddr *)&to, sizeof(to));

	if (fd < 0)
		fail_msg("connect from %#x to port %d: %s", address, port, strerror(-fd));
	return fd;
}

int try_connect_tcp(const char *host, int port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
		return try_connect((struct sockaddr *)&v4, sizeof(v4));
	if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
		return try_connect((struct sockaddr *)&v6, sizeof(v6));
	return -EINVAL;
}

int connect_tcp(const char *host, int port)
{
	int fd = try_connect_tcp(host, port);

	if (fd < 0)
		fail_msg("connect to %s port %d: %s", host, port, strerror(-fd));
	return fd;
}

bool tcp_is_refused(int port)
{
	int fd = try_connect_tcp("127.0.0.1", port);

	if (fd >= 0)
		close(fd);
	return fd == -ECONNREFUSED;
}

void expect_tcp_refused(const char *host, int port)
{
	int fd = try_connect_tcp(host, port);

	/* One that stayed open would keep usherd from stopping. */
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		fail_msg("connect to %s port %d was not refused: %s", host, port,
			 fd >= 0 ? "somebody listens there" : strerror(-fd));
}

int free_tcp_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin_port);
}

int try_connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length);
	if (path[0] != '@')
		return try_connect((struct sockaddr *)&address, sizeof(address));

	address.sun_path[0] = '\0';
	length += offsetof(struct sockaddr_un, sun_path);
	return try_connect((struct sockaddr *)&address, (socklen_t)length);
}

int connect_unix(const char *path)
{
	int fd = try_connect_unix(path);

	if (fd < 0)
		fail_msg("connect to %s: %s", path, strerror(-fd));
	return fd;
}

void client_send(int fd, const char *text)
{
	size_t size = strlen(text);

	assert_int_equal(TEMP_FAILURE_RETRY(send(fd, text, size, MSG_NOSIGNAL)), size);
}

/* A child that ends interrupts a socket with a time limit, also in the middle of MSG_WAITALL. */
static ssize_t receive(int fd, char *got, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = TEMP_FAILURE_RETRY(recv(fd, got + done, size - done, 0));

		if (n == -1)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void client_expect(int fd, const char *text)
{
	char got[TEXT_MAX];
	size_t size = strlen(text);

	assert_true(size < sizeof(got));
	ssize_t n = receive(fd, got, size);
	if (n == -1)
		fail_msg("recv: %s", strerror(errno));
	got[n < 0 ? 0 : n] = '\0';
	assert_string_equal(got, text);
}

void client_expect_end(int fd)
{
	char byte;
	ssize_t n = TEMP_FAILURE_RETRY(recv(fd, &byte, 1, 0));

	if (n == 1)
		fail_msg("a byte came, not the end: '%c'", byte);
	if (n == -1 && errno != ECONNRESET)
		fail_msg("no end: %s", strerror(errno));
}

/* An end that was sent counts as a byte. */
static bool is_acknowledged(void *ctx)
{
	int left = -1;

	assert_int_equal(ioctl(*(int *)ctx, SIOCOUTQ, &left), 0);
	return left == 0;
}

void client_await_arrival(int fd)
{
	assert_true(poll_until(is_acknowledged, &fd, WAIT_MS));
}

void client_leave(int fd)
{
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	client_expect_end(fd);
}

void client_hang_up(int fd)
{
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	client_await_arrival(fd);
	close(fd);
}

void client_expect_echo(int fd)
{
	static unsigned int number;
	char text[32];

	snprintf(text, sizeof(text), "echo %u\n", ++number);
	client_send(fd, text);
	client_expect(fd, text);
}

void clients_connect(struct clients *c, int port, size_t count)
{
	int *fds = realloc(c->fds, (c->count + count) * sizeof(*fds));

	assert_non_null(fds);
	c->fds = fds;
	for (size_t i = 0; i < count; i++) {
		int fd = connect_tcp("127.0.0.1", port);
		c->fds[c->count++] = fd;
	}
}

void clients_connect_apart(struct clients *c, int port, size_t count)
{
	int *fds = realloc(c->fds, (c->count + count + 1) * sizeof(*fds));

	assert_non_null(fds);
	c->fds = fds;
	for (; count > 0; count--, c->count++)
		fds[c->count] = connect_tcp_from(0x7f000002 + (uint32_t)c->count, port);
}

void clients_expect_echo(const struct clients *c)
{
	for (size_t i = 0; i < c->count; i++)
		client_expect_echo(c->fds[i]);
}

void clients_close(struct clients *c, size_t count)
{
	assert_true(count <= c->count);
	while (count-- > 0)
		close(c->fds[--c->count]);
}

static bool has_ended(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n == -1 && errno != EAGAIN);
}

size_t clients_ended(const struct clients *c)
{
	size_t ended = 0;

	for (size_t i = 0; i < c->count; i++)
		ended += has_ended(c->fds[i]);
	return ended;
}

struct ends_question {
	const struct clients *clients;
	size_t count;
};

static bool so_many_have_ended(void *ctx)
{
	const struct ends_question *q = ctx;

	return clients_ended(q->clients) == q->count;
}

void clients_await_ends(const struct clients *c, size_t count)
{
	struct ends_question q = {c, count};

	if (!poll_until(so_many_have_ended, &q, WAIT_MS))
		fail_msg("%zu clients have ended, not %zu", clients_ended(c), count);
}

void clients_forget_ended(struct clients *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++)
		if (has_ended(c->fds[i]))
			close(c->fds[i]);
		else
			c->fds[kept++] = c->fds[i];
	c->count = kept;
}

void clients_reset(struct clients *c)
{
	const struct linger reset = {.l_onoff = 1};

	for (size_t i = 0; i < c->count; i++)
		assert_int_equal(
			setsockopt(c->fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	clients_close(c, c->count);
}

void clients_done(struct clients *c)
{
	clients_close(c, c->count);
	free(c->fds);
	*c = (struct clients){0};
}
