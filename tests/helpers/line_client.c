#include "tests/helpers/line_client.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "common/macros.h"

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
	struct line_client *client = CONTAINER_OF(io, struct line_client, io);
	ssize_t got = recv(client->fd, client->text + client->size,
			   sizeof(client->text) - 1 - client->size, 0);

	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) { /* a reset counts as an end: bytes of ours may have been left unread */
		client->ended = true;
		ev_io_stop(loop, io);
		return;
	}
	client->size += (size_t)got;
	client->text[client->size] = '\0';
	assert_true(client->size < sizeof(client->text) - 1);
}

void line_client_init(struct line_client *client, struct ev_loop *loop, int fd)
{
	memset(client, 0, sizeof(*client));
	client->loop = loop;
	client->fd = fd;
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
	ev_io_init(&client->io, on_readable, fd, EV_READ);
	ev_io_start(loop, &client->io);
}

void line_client_connect(struct line_client *client, struct ev_loop *loop, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	line_client_init(client, loop, fd);
}

void line_client_send(struct line_client *client, const void *bytes, size_t size)
{
	assert_int_equal(send(client->fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

void line_client_wait(struct line_client *client)
{
	while (!client->ended)
		ev_run(client->loop, EVRUN_ONCE);
}

void line_client_done(struct line_client *client)
{
	ev_io_stop(client->loop, &client->io);
	close_fd(take_fd(&client->fd));
}
