/* From one socket to another. Bytes go through the loop's buffer as long as they come in small
 * pieces, which is cheaper then; what keeps coming in large ones is moved by splice(2), through a
 * pipe inside the kernel, until it slows down. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/socket.h"

/* So many full buffers in a row are bulk, */
#define BULK_READS 3
/* and fewer bytes than this at a time are not. */
#define BULK_MIN   16384

/* Asked for; the kernel's limits for unprivileged users may give less. */
#define PIPE_SIZE (256 * 1024)

struct socket_pipe {
	struct net_socket *from;
	struct net_socket *to;
	int fds[2];     /* -1 until bytes are spliced */
	size_t pending; /* bytes inside fds */
	unsigned bulk;  /* large reads in a row */
	bool waiting;   /* for on_drain of to */
	bool no_splice; /* the kernel cannot do it between these two */
};

/* --- a pipe begins and ends ------------------------------------------------------------------ */

/* A pipe carries bytes: those of half a character as well. */
static int take_held_back(struct net_socket *from)
{
	struct decoder *decoder = &from->extra->decoder;
	int r = read_put_back(from, decoder->held, decoder->held_size);

	if (r == 0)
		decoder_init(decoder, (enum net_encoding)decoder->encoding);
	return r;
}

int net_socket_pipe(struct net_socket *from, struct net_socket *to)
{
	struct socket_extra *source, *destination;
	struct socket_pipe *pipe;

	if (from->context != to->context)
		return -EINVAL;
	if (from->destroyed || to->destroyed || to->ending)
		return NET_ERR_STREAM_DESTROYED;
	if (from->end_told)
		return net_socket_end(to, NULL, 0, NULL, NULL);
	if (socket_get_extra(from, &source) < 0 || socket_get_extra(to, &destination) < 0)
		return -ENOMEM;
	if (source->pipe_out || destination->pipe_in)
		return -EALREADY;

	pipe = calloc(1, sizeof(*pipe));
	if (!pipe || take_held_back(from) < 0) {
		free(pipe);
		return -ENOMEM;
	}
	*pipe = (struct socket_pipe){.from = from, .to = to, .fds = {-1, -1}};
	source->pipe_out = pipe;
	destination->pipe_in = pipe;
	net_socket_resume(from);
	return 0;
}

/* Bytes that are inside the kernel's pipe go back into the queue of the destination. */
static void reclaim(struct socket_pipe *pipe)
{
	size_t pending = pipe->pending;

	pipe->pending = 0;
	if (pending > 0 && !pipe->to->destroyed)
		write_queue_from(pipe->to, pipe->fds[0], pending);
}

/* The source then waits for somebody else who wants its data. */
static void detach(struct socket_pipe *pipe)
{
	struct net_socket *from = pipe->from, *to = pipe->to;

	/* Reclaiming may destroy the destination, which must not find the pipe then. */
	from->extra->pipe_out = NULL;
	to->extra->pipe_in = NULL;
	reclaim(pipe);
	close_fd(pipe->fds[0]);
	close_fd(pipe->fds[1]);
	free(pipe);

	from->resumed = false;
	read_ops_changed(from);
	socket_update(from);
	socket_update(to);
}

void net_socket_unpipe(struct net_socket *from)
{
	if (from->extra && from->extra->pipe_out)
		detach(from->extra->pipe_out);
}

void pipe_stop_in(struct net_socket *s)
{
	if (s->extra && s->extra->pipe_in)
		detach(s->extra->pipe_in);
}

void pipe_break(struct net_socket *s)
{
	net_socket_unpipe(s);
	pipe_stop_in(s);
}

void pipe_end(struct socket_pipe *pipe)
{
	struct net_socket *to = pipe->to;

	detach(pipe);
	if (!to->destroyed && !to->ending)
		net_socket_end(to, NULL, 0, NULL, NULL);
}

/* --- flow ------------------------------------------------------------------------------------ */

bool pipe_is_full(const struct socket_pipe *pipe)
{
	return pipe && (pipe->waiting || pipe->pending > 0);
}

bool pipe_has_room(const struct socket_pipe *pipe, size_t size)
{
	return !pipe || write_has_room(pipe->to, pipe->pending + size);
}

void pipe_drained(struct net_socket *s)
{
	struct socket_pipe *pipe = s->extra ? s->extra->pipe_in : NULL;

	if (!pipe || !pipe->waiting)
		return;
	pipe->waiting = false;
	socket_update(pipe->from);
}

/* --- by copying ------------------------------------------------------------------------------ */

void pipe_copy(struct socket_pipe *pipe, const void *data, size_t size)
{
	struct net_socket *from = pipe->from, *to = pipe->to;
	int r;

	pipe->bulk = size > BULK_MIN ? pipe->bulk + 1 : 0;

	/* A failure destroys the destination, which ends the pipe. */
	r = write_piece(to, data, size);
	if (r == -ENOMEM)
		socket_fail(to, r, CALL_WRITE);
	if (r == 0) {
		pipe->waiting = true;
		socket_update(from);
	}
}

/* --- by splice(2) ---------------------------------------------------------------------------- */

static bool open_fds(struct socket_pipe *pipe)
{
	if (pipe->fds[0] >= 0)
		return true;
	if (pipe2(pipe->fds, O_CLOEXEC | O_NONBLOCK) == -1)
		return false;

	/* Less room is slower and no more. */
	(void)fcntl(pipe->fds[1], F_SETPIPE_SZ, PIPE_SIZE);
	return true;
}

/* splice(2) knows no MSG_DONTWAIT for a socket, but goes by the O_NONBLOCK that all who have the
 * descriptor can clear. */
static bool may_block(const struct socket_pipe *pipe)
{
	return pipe->from->shared || pipe->to->shared;
}

bool pipe_splices(const struct socket_pipe *pipe)
{
	return pipe && pipe->bulk >= BULK_READS && !pipe->no_splice && !may_block(pipe) &&
	       pipe->to->connected && queue_is_empty(&pipe->to->queue) && pipe->to->corked == 0;
}

/* Without descriptors or with a kind of socket that cannot, copying goes on. */
static ssize_t give_up(struct socket_pipe *pipe)
{
	pipe->no_splice = true;
	return -EAGAIN;
}

ssize_t pipe_splice(struct socket_pipe *pipe)
{
	struct net_socket *from = pipe->from, *to = pipe->to;
	ssize_t n;
	int r;

	if (!open_fds(pipe))
		return give_up(pipe);

	n = splice(from->io.fd, NULL, pipe->fds[1], NULL, PIPE_SIZE,
		   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (n == -1)
		return errno == EINVAL ? give_up(pipe) : -errno;
	if (n == 0)
		return 0;

	from->bytes_read += (size_t)n;
	from->read_short = n <= BULK_MIN;
	pipe->bulk = n <= BULK_MIN ? 0 : pipe->bulk;
	pipe->pending += (size_t)n;
	timeout_touch(from);
	r = pipe_push(to);
	if (r < 0)
		write_failed(to, r);
	socket_update(to);
	socket_update(from);
	return n;
}

/* splice(2) knows no MSG_NOSIGNAL, so SIGPIPE is held back, and taken if it was raised here. */
static ssize_t splice_quietly(int from, int to, size_t size)
{
	const struct timespec at_once = {0};
	sigset_t sigpipe, pending, before;
	ssize_t n;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
	n = splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	if (n == -1)
		n = -errno;
	if (n == -EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&sigpipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

size_t pipe_pending(const struct net_socket *s)
{
	return s->extra && s->extra->pipe_in ? s->extra->pipe_in->pending : 0;
}

int pipe_push(struct net_socket *s)
{
	struct socket_pipe *pipe = s->extra ? s->extra->pipe_in : NULL;

	while (pipe && pipe->pending > 0) {
		ssize_t n = splice_quietly(pipe->fds[0], s->io.fd, pipe->pending);

		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n == -EINVAL) {
			pipe->no_splice = true;
			reclaim(pipe);
			return 0;
		}
		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
		pipe->pending -= (size_t)n;
		s->bytes_written += (size_t)n;
		timeout_touch(s);
		if (pipe->pending == 0)
			socket_update(pipe->from);
	}
	return 0;
}
