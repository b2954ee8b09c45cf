#include "tests/helpers/net_peers.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "tests/helpers/net_judge.h"

#define READ_SIZE    65536
#define SMALL_BUFFER 4096

void peer_close(struct peer *peer)
{
	close_fd(peer->fd);
	*peer = (struct peer){.fd = -1};
}

void peer_take(struct peer *peer, int fd, bool is_small)
{
	int small = SMALL_BUFFER;

	peer_close(peer);
	peer->fd = fd;
	if (is_small)
		REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
}

void peer_reset(struct peer *peer)
{
	const struct linger now = {.l_onoff = 1};

	REQUIRE(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	peer_close(peer);
}

/* Fails if the other end is gone, which the input did. */
void peer_end(struct peer *peer)
{
	(void)shutdown(peer->fd, SHUT_WR);
}

void peer_send(struct peer *peer, size_t size)
{
	ssize_t n = send(peer->fd, judge_pattern(peer->sent), size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		peer->sent += (size_t)n;
}

void peer_receive(struct peer *peer, bool check)
{
	static char data[READ_SIZE];
	ssize_t n = recv(peer->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n <= 0)
		return;
	if (check)
		REQUIRE(memcmp(data, judge_pattern(peer->received), (size_t)n) == 0);
	peer->received += (size_t)n;
}

int peer_connect(int port)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return -1;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == -1 && errno != EINPROGRESS)
		return -1;
	return take_fd(&fd);
}
