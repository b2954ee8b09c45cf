/* Bytes in: from the kernel to whoever wants them, through the one buffer of the loop.
 *
 * Nothing is read that nobody wants: it stays in the kernel, which slows the peer down. So there is
 * no queue of read data, and an end is only seen when all before it was taken. */
#include <errno.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/socket.h"

/* Reads in one wake-up, so that one busy peer does not starve the others. */
#define READS_MAX 32

static bool has_consumer(const struct net_socket *s)
{
	return s->ops->on_data || s->ops->on_read;
}

void read_ops_changed(struct net_socket *s)
{
	s->data_waits = false;
	if (s->read_state != READ_PAUSED && !s->resumed)
		s->read_state = has_consumer(s) ? READ_FLOWING : READ_UNDECIDED;
}

bool read_wanted(const struct net_socket *s)
{
	if (s->eof || s->read_state == READ_PAUSED)
		return false;
	return s->read_state == READ_FLOWING || !s->data_waits;
}

/* --- the end --------------------------------------------------------------------------------- */

/* A tick after on_end, so that what on_end writes still goes out. */
static void on_auto_end_turn(struct defer *call)
{
	struct net_socket *s = CONTAINER_OF(call, struct net_socket, read_call);

	if (!s->destroyed && !s->allow_half_open)
		write_auto_end(s);
}

static void tell_end(struct net_socket *s)
{
	s->eof = true;
	s->end_told = true;
	socket_update(s);
	if (!s->allow_half_open && !s->ending)
		defer_call(&s->context->calls, &s->read_call, on_auto_end_turn);
	if (s->ops->on_end)
		s->ops->on_end(s, s->ctx);
	if (!s->destroyed)
		socket_end_if_done(s);
}

/* --- data ------------------------------------------------------------------------------------ */

/* Undecided: looks whether there is data or an end, and takes neither. */
static void look(struct net_socket *s)
{
	char byte;
	ssize_t n = recv(s->io.fd, &byte, 1, MSG_PEEK);

	if (n == 0)
		tell_end(s);
	else if (n > 0)
		s->data_waits = true;
	else if (errno != EAGAIN && errno != EINTR)
		socket_fail(s, -errno, CALL_READ);
	socket_update(s);
}

static void deliver(struct net_socket *s, void *data, size_t size)
{
	if (s->ops->on_read) {
		if (!s->ops->on_read(s, data, size, s->ctx) && !s->destroyed)
			net_socket_pause(s);
	} else if (s->ops->on_data) {
		s->ops->on_data(s, data, size, s->ctx);
	}
}

/* Where the next read goes: the user's own buffer or the loop's. */
static void *get_buffer(struct net_socket *s, size_t *ret_size)
{
	*ret_size = sizeof(s->context->buffer);
	if (!s->ops->on_read || !s->ops->on_buffer)
		return s->context->buffer;

	*ret_size = 0;
	return s->ops->on_buffer(s, ret_size, s->ctx);
}

/* One read. Returns whether another one may bring more. */
static bool read_some(struct net_socket *s)
{
	size_t size;
	void *buffer = get_buffer(s, &size);
	ssize_t n;

	if (s->destroyed || s->read_state != READ_FLOWING)
		return false;
	if (!buffer || size == 0) {
		socket_fail(s, -ENOBUFS, CALL_READ);
		return false;
	}

	n = recv(s->io.fd, buffer, size, 0);
	if (n > 0) {
		s->bytes_read += (size_t)n;
		timeout_touch(s);
		deliver(s, buffer, (size_t)n);
		return (size_t)n == size;
	}

	if (n == 0) {
		timeout_touch(s);
		tell_end(s);
	} else if (errno != EAGAIN && errno != EINTR) {
		socket_fail(s, -errno, CALL_READ);
	}
	return false;
}

void read_ready(struct net_socket *s)
{
	if (s->eof)
		return;
	if (s->read_state == READ_UNDECIDED) {
		look(s);
		return;
	}

	for (int i = 0; i < READS_MAX; i++)
		if (!read_some(s) || s->destroyed || s->read_state != READ_FLOWING)
			return;
}

/* --- pause ----------------------------------------------------------------------------------- */

void net_socket_pause(struct net_socket *s)
{
	s->read_state = READ_PAUSED;
	s->resumed = false;
	socket_update(s);
}

void net_socket_resume(struct net_socket *s)
{
	s->read_state = READ_FLOWING;
	s->resumed = true;
	socket_update(s);
}

bool net_socket_is_paused(const struct net_socket *s)
{
	return s->read_state == READ_PAUSED;
}
