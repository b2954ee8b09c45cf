/* Bytes in: from the kernel to whoever wants them, through the one buffer of the loop.
 *
 * Nothing is read that nobody wants: it stays in the kernel, which slows the peer down. So there is
 * no queue of read data but what was unshifted, and an end is only seen when all before it was
 * taken. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/socket.h"

/* Reads in one wake-up, so that one busy peer does not starve the others. */
#define READS_MAX 32

/* So many connections of a server are not read early for each that had brought nothing. */
#define SPARED_READS 15

static struct socket_pipe *pipe_of(const struct net_socket *s)
{
	return s->extra ? s->extra->pipe_out : NULL;
}

static bool has_consumer(const struct net_socket *s)
{
	return s->ops->on_data || s->ops->on_read || pipe_of(s);
}

static bool has_unread(const struct net_socket *s)
{
	return s->extra && s->extra->unread.size > 0;
}

void read_ops_changed(struct net_socket *s)
{
	s->data_waits = false;
	if (s->read_state != READ_PAUSED && !s->resumed)
		s->read_state = has_consumer(s) ? READ_FLOWING : READ_UNDECIDED;
}

bool read_wanted(const struct net_socket *s)
{
	if (s->eof || s->read_state == READ_PAUSED || pipe_is_full(pipe_of(s)) || has_unread(s))
		return false;
	return s->read_state == READ_FLOWING || !s->data_waits;
}

/* --- data ------------------------------------------------------------------------------------ */

static void deliver_text(struct net_socket *s, size_t size)
{
	if (size > 0 && s->ops->on_data)
		s->ops->on_data(s, s->context->text, size, s->ctx);
}

static void deliver(struct net_socket *s, void *data, size_t size)
{
	struct decoder *decoder = s->extra ? &s->extra->decoder : NULL;

	if (s->ops->on_read) {
		if (!s->ops->on_read(s, data, size, s->ctx) && !s->destroyed)
			net_socket_pause(s);
	} else if (decoder && decoder->encoding != NET_ENCODING_NONE) {
		deliver_text(s, decoder_write(decoder, data, size, s->context->text));
	} else if (s->ops->on_data) {
		s->ops->on_data(s, data, size, s->ctx);
	}
}

/* What the decoder holds back. */
static void deliver_rest(struct net_socket *s)
{
	if (s->extra && s->extra->decoder.encoding != NET_ENCODING_NONE && !s->ops->on_read)
		deliver_text(s, decoder_end(&s->extra->decoder, s->context->text));
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
	struct socket_pipe *pipe = pipe_of(s);

	s->end_told = true;
	if (!s->allow_half_open && !s->ending)
		defer_call(&s->context->calls, &s->read_call, on_auto_end_turn);
	if (s->ops->on_end)
		s->ops->on_end(s, s->ctx);
	if (!s->destroyed && pipe && pipe == pipe_of(s))
		pipe_end(pipe);
	if (!s->destroyed)
		socket_end_if_done(s);
}

static bool may_tell_end(const struct net_socket *s)
{
	return s->eof && !s->end_told && !s->destroyed && s->read_state != READ_PAUSED &&
	       !has_unread(s) && !defer_waits(&s->read_call);
}

/* Half a character may still be held back, and who gets that may pause, put something back, or
 * resume, all of which leaves the end to a later turn. */
static void tell_rest_and_end(struct net_socket *s)
{
	if (may_tell_end(s))
		deliver_rest(s);
	if (may_tell_end(s))
		tell_end(s);
}

/* The peer has ended. */
static void end_reading(struct net_socket *s)
{
	s->eof = true;
	timeout_touch(s);
	socket_update(s);
	tell_rest_and_end(s);
}

/* --- reads ----------------------------------------------------------------------------------- */

/* Undecided: looks whether there is data or an end, and takes neither. */
static OUT_OF_LINE void look(struct net_socket *s)
{
	char byte;
	ssize_t n = recv(s->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == 0)
		end_reading(s);
	else if (n > 0)
		s->data_waits = true;
	else if (errno != EAGAIN && errno != EINTR)
		socket_fail(s, -errno, CALL_READ);
	socket_update(s);
}

/* Where the next read goes: the user's own buffer or the loop's. */
static void *get_buffer(struct net_socket *s, size_t *ret_size)
{
	*ret_size = sizeof(s->context->buffer);
	if (pipe_of(s) || !s->ops->on_read || !s->ops->on_buffer)
		return s->context->buffer;

	*ret_size = 0;
	return s->ops->on_buffer(s, ret_size, s->ctx);
}

/* What the kernel has, as recv(2), with a negative error. */
static inline ssize_t receive(struct net_socket *s, void *buffer, size_t size)
{
	ssize_t n = recv(s->io.fd, buffer, size, MSG_DONTWAIT);

	/* Less than asked for: the kernel has no more, and need not be asked again. */
	s->read_short = n >= 0 && (size_t)n < size;
	if (n < 0)
		return -errno;
	s->bytes_read += (size_t)n;
	return n;
}

/* What was unshifted comes before what the kernel has. */
static ssize_t take(struct net_socket *s, void *buffer, size_t size)
{
	struct unread *unread = has_unread(s) ? &s->extra->unread : NULL;

	if (!unread)
		return receive(s, buffer, size);

	if (size > unread->size)
		size = unread->size;
	memcpy(buffer, unread->data + unread->begin, size);
	unread->begin += size;
	unread->size -= size;
	if (unread->size == 0) {
		free(unread->data);
		unread->data = NULL;
	}
	s->read_short = false;
	return (ssize_t)size;
}

/* One read into memory. Returns as recv(2), with a negative error. */
static ssize_t read_to_memory(struct net_socket *s)
{
	const struct net_socket_ops *ops = s->ops;
	const void *ctx = s->ctx;
	size_t size;
	void *buffer = get_buffer(s, &size);
	bool was_short;
	ssize_t n;

	if (s->destroyed || s->read_state != READ_FLOWING)
		return -EAGAIN;
	/* on_buffer has put somebody else in its place, for whom this buffer is not. */
	if (s->ops != ops || s->ctx != ctx)
		return -EAGAIN;
	if (!buffer || size == 0)
		return -ENOBUFS;

	n = take(s, buffer, size);
	if (n < 0)
		return n;
	was_short = s->read_short;
	timeout_touch(s);
	if (n > 0 && pipe_of(s))
		pipe_copy(pipe_of(s), buffer, (size_t)n);
	else if (n > 0)
		deliver(s, buffer, (size_t)n);

	s->read_short = was_short && !has_unread(s);
	return n;
}

static OUT_OF_LINE ssize_t read_somehow(struct net_socket *s)
{
	bool splices = pipe_splices(pipe_of(s)) && !has_unread(s);

	return splices ? pipe_splice(pipe_of(s)) : read_to_memory(s);
}

/* Whether nothing stands between the kernel and on_data. */
static bool reads_plainly(const struct net_socket *s)
{
	const struct socket_extra *extra = s->extra;

	if (extra && (extra->pipe_out || extra->unread.size > 0 ||
		      extra->decoder.encoding != NET_ENCODING_NONE))
		return false;
	return s->ops->on_data && !s->ops->on_read && s->read_state == READ_FLOWING &&
	       !s->destroyed;
}

/* The most frequent read of all. */
static ssize_t read_plainly(struct net_socket *s)
{
	ssize_t n = receive(s, s->context->buffer, sizeof(s->context->buffer));

	if (n <= 0)
		return n;
	timeout_touch(s);
	s->ops->on_data(s, s->context->buffer, (size_t)n, s->ctx);
	return n;
}

/* One read, whose end or failure is told. Returns as recv(2), with a negative error. */
static ssize_t read_once(struct net_socket *s)
{
	ssize_t n = reads_plainly(s) ? read_plainly(s) : read_somehow(s);

	if (n == 0)
		end_reading(s);
	else if (n < 0 && n != -EAGAIN && n != -EINTR)
		socket_fail(s, (int)n, CALL_READ);
	return n;
}

/* One read. Returns whether another one may bring more. */
static bool read_some(struct net_socket *s)
{
	return read_once(s) > 0 && !s->read_short;
}

static bool is_flowing(const struct net_socket *s)
{
	return !s->destroyed && s->read_state == READ_FLOWING;
}

static bool may_read(const struct net_socket *s)
{
	return is_flowing(s) && !pipe_is_full(pipe_of(s));
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
		if (!read_some(s) || !may_read(s))
			return;
}

/* As much as there is now, as another process that has the descriptor may receive more. What comes
 * behind is not looked at: the kernel says only once that a connection broke, which it has said to
 * who was sending, and would call it an end here. A pipe that is full gets it, too, if the
 * destination may keep all of it: it is no more than the kernel had, and lost if not now. */
void read_rest(struct net_socket *s)
{
	size_t left = has_unread(s) ? s->extra->unread.size : 0;
	bool takes_all;
	int received;

	if (ioctl(s->io.fd, FIONREAD, &received) == 0)
		left += (size_t)received;
	takes_all = pipe_has_room(pipe_of(s), left);
	while (left > 0 && is_flowing(s) && (takes_all || !pipe_is_full(pipe_of(s)))) {
		ssize_t n = read_to_memory(s);

		if (n <= 0)
			return;
		left -= (size_t)n < left ? (size_t)n : left;
	}
}

/* --- what was put back ----------------------------------------------------------------------- */

static bool may_tell_unread(const struct net_socket *s)
{
	return has_unread(s) && may_read(s);
}

static void on_unread_turn(struct defer *call)
{
	struct net_socket *s = CONTAINER_OF(call, struct net_socket, read_call);

	for (int i = 0; i < READS_MAX && may_tell_unread(s); i++)
		read_some(s);
	if (s->destroyed)
		return;
	tell_rest_and_end(s);
	if (!s->destroyed)
		socket_update(s);
}

/* A buffer of the user's is not asked for before there is something to put in it. */
static bool may_read_early(const struct net_socket *s)
{
	return is_flowing(s) && read_wanted(s) && !s->ops->on_buffer;
}

static void note_early(struct net_server *server, bool found)
{
	if (found)
		server->spared_reads = 0;
	else if (server->spared_reads <= UINT16_MAX - SPARED_READS)
		server->spared_reads += SPARED_READS;
}

static void on_early_turn(struct defer *call)
{
	struct net_socket *s = CONTAINER_OF(call, struct net_socket, read_call);

	if (may_read_early(s)) {
		bool found = read_once(s) != -EAGAIN;

		if (s->server)
			note_early(s->server, found);
	}
	on_unread_turn(call);
}

/* Most clients speak first, and what they say is often there with the connection: reading it at
 * once saves a wake-up. For each read that finds nothing the next few are spared. */
void read_early(struct net_socket *s)
{
	if (!may_read_early(s) || defer_waits(&s->read_call))
		return;
	if (s->server->spared_reads > 0)
		s->server->spared_reads--;
	else
		defer_call(&s->context->calls, &s->read_call, on_early_turn);
}

void read_update(struct net_socket *s)
{
	if (may_tell_unread(s) && !defer_waits(&s->read_call))
		defer_call(&s->context->calls, &s->read_call, on_unread_turn);
}

int read_put_back(struct net_socket *s, const void *data, size_t size)
{
	struct socket_extra *extra;
	struct unread *old;
	char *both;
	int r;

	r = socket_get_extra(s, &extra);
	if (r < 0 || size == 0)
		return r;
	old = &extra->unread;
	both = malloc(size + old->size);
	if (!both)
		return -ENOMEM;
	memcpy(both, data, size);
	if (old->size > 0)
		memcpy(both + size, old->data + old->begin, old->size);
	free(old->data);
	*old = (struct unread){.data = both, .size = size + old->size};
	socket_update(s);
	return 0;
}

int net_socket_unshift(struct net_socket *s, const void *data, size_t size)
{
	size_t old = s->extra ? s->extra->unread.size : 0;

	if (s->destroyed)
		return NET_ERR_STREAM_DESTROYED;
	if (s->end_told || (size > 0 && !data))
		return -EINVAL;
	if (size > SOCKET_UNSHIFT_MAX || old + size > SOCKET_UNSHIFT_MAX)
		return -ENOBUFS;
	return read_put_back(s, data, size);
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
	if (s->eof && !s->end_told && !s->destroyed && !defer_waits(&s->read_call))
		defer_call(&s->context->calls, &s->read_call, on_unread_turn);
}

bool net_socket_is_paused(const struct net_socket *s)
{
	return s->read_state == READ_PAUSED;
}

/* --- encoding -------------------------------------------------------------------------------- */

int net_socket_set_encoding(struct net_socket *s, enum net_encoding encoding)
{
	struct socket_extra *extra;
	int r;

	if ((unsigned)encoding > NET_ENCODING_HEX)
		return NET_ERR_INVALID_ARG_VALUE;
	r = socket_get_extra(s, &extra);
	if (r == 0 && encoding != NET_ENCODING_NONE)
		r = context_need_text(s->context);
	if (r < 0)
		return r;

	decoder_init(&extra->decoder, encoding);
	return 0;
}
