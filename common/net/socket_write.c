/* Bytes out: the kernel is tried first, and only what it does not take is copied and waits. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/socket.h"

/* Chunks sent in one wake-up. */
#define FLUSH_MAX 32

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

/* --- told later ------------------------------------------------------------------------------ */

/* What was written since the queue became empty is waited for as well. */
static void tell_drain(struct net_socket *s)
{
	if (!queue_is_empty(&s->queue))
		s->drain_due = true;
	else if (!s->ending && s->ops->on_drain)
		s->ops->on_drain(s, s->ctx);
}

/* But for what is refused meanwhile, which destroys s. */
static void answer_all(struct net_socket *s)
{
	struct request_list requests = STAILQ_HEAD_INITIALIZER(requests);
	struct request *request;

	STAILQ_CONCAT(&requests, &s->requests);
	while ((request = STAILQ_FIRST(&requests))) {
		STAILQ_REMOVE_HEAD(&requests, link);
		request_answer(request, request->status);
	}
}

static void on_write_turn(struct defer *call)
{
	struct net_socket *s = CONTAINER_OF(call, struct net_socket, write_call);

	if (s->destroyed)
		return;

	/* What was sent before our side ended is answered first: go to the end of the queue. */
	if (s->drain_waits && s->finish_waits) {
		s->drain_waits = false;
		defer_call(&s->context->calls, call, on_write_turn);
		return;
	}

	if (s->drain_waits) {
		s->drain_waits = false;
		tell_drain(s);
		return;
	}

	s->finish_waits = false;
	s->finish_told = true;
	answer_all(s);
	if (!s->destroyed && s->ops->on_finish)
		s->ops->on_finish(s, s->ctx);
	if (s->destroy_soon)
		socket_fail(s, 0, CALL_NONE);
	else if (!s->destroyed)
		socket_end_if_done(s);
}

static void tell_later(struct net_socket *s)
{
	if (!defer_waits(&s->write_call))
		defer_call(&s->context->calls, &s->write_call, on_write_turn);
}

/* Called when the queue has become empty, before its last write is answered. */
static void drained(struct net_socket *s)
{
	if (!s->drain_due)
		return;
	s->drain_due = false;
	s->drain_waits = true;
	tell_later(s);
	pipe_drained(s);
}

/* Whether new data must not go to the kernel yet. */
static bool must_wait(const struct net_socket *s)
{
	return !s->connected || s->failing || s->corked > 0 || !queue_is_empty(&s->queue) ||
	       pipe_pending(s) > 0;
}

/* --- the end of our side --------------------------------------------------------------------- */

/* When the peer has ended as well, a close follows, which ends our side. It does so only if no
 * other process has a copy of the descriptor. */
static bool close_will_do(const struct net_socket *s)
{
	return s->end_told && !s->shared && !context_may_be_copied(s->context, s->io.fd);
}

static void end_if_sent(struct net_socket *s)
{
	if (!s->ending || s->shut || s->destroyed || must_wait(s))
		return;

	if (!close_will_do(s) && shutdown(s->io.fd, SHUT_WR) == -1 && errno != ENOTCONN) {
		socket_fail(s, -errno, CALL_SHUTDOWN);
		return;
	}

	s->shut = true;
	s->finish_waits = true;
	tell_later(s);
}

void write_auto_end(struct net_socket *s)
{
	if (s->ending)
		return;
	pipe_stop_in(s);
	s->ending = true;
	s->auto_ended = true;
	s->corked = 0;
	write_connected(s);
}

/* --- sending --------------------------------------------------------------------------------- */

/* Takes n sent bytes off the queue, and answers the writes that are complete. */
static void consume(struct net_socket *s, size_t n)
{
	struct request *request;

	if (n == s->queue.size)
		drained(s);
	while (queue_take_sent(&s->queue, &n, &request))
		request_complete(request, 0);
}

static ssize_t send_parts(struct net_socket *s, struct iovec *parts, size_t count)
{
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};

	if (count == 1)
		return send(s->io.fd, parts->iov_base, parts->iov_len, SEND_FLAGS);
	return sendmsg(s->io.fd, &message, SEND_FLAGS);
}

/* Returns 0, or how sending failed. */
static int flush(struct net_socket *s)
{
	struct iovec parts[FLUSH_MAX];
	size_t count = queue_parts(&s->queue, parts, ARRAY_LEN(parts));
	ssize_t n;

	if (count == 0)
		return 0;

	n = s->queue.size > 0 ? send_parts(s, parts, count) : 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n > 0)
		timeout_touch(s);
	consume(s, (size_t)n);
	return 0;
}

void write_queue_from(struct net_socket *s, int fd, size_t size)
{
	int r = queue_prepend_from(&s->queue, fd, size);

	if (r < 0)
		socket_fail(s, r, CALL_WRITE);
	else
		s->bytes_written += size;
}

bool write_wanted(const struct net_socket *s)
{
	return pipe_pending(s) > 0 || (s->corked == 0 && !queue_is_empty(&s->queue));
}

/* Sends what waits, and our end after it. Returns 0, or how sending failed. */
static int send_waiting(struct net_socket *s)
{
	int r = pipe_push(s);

	if (r == 0 && !s->destroyed && pipe_pending(s) == 0 && s->corked == 0)
		r = flush(s);
	if (r < 0)
		return r;
	end_if_sent(s);
	socket_update(s);
	return 0;
}

void write_failed(struct net_socket *s, int error)
{
	s->failing = true;
	pipe_stop_in(s);
	read_rest(s);
	socket_fail(s, error, CALL_WRITE);
}

void write_ready(struct net_socket *s)
{
	int r = send_waiting(s);

	if (r < 0)
		write_failed(s, r);
}

/* Nobody may be told inside the call that this can be part of. */
void write_connected(struct net_socket *s)
{
	int r = s->connected && !s->failing && !s->destroyed ? send_waiting(s) : 0;

	if (r < 0)
		socket_fail(s, r, CALL_WRITE);
}

/* --- write ----------------------------------------------------------------------------------- */

/* 0, or why s takes no more data. */
static int refusal(const struct net_socket *s)
{
	if (s->destroyed)
		return NET_ERR_STREAM_DESTROYED;
	if (s->auto_ended)
		return -EPIPE;
	if (s->ending)
		return NET_ERR_STREAM_WRITE_AFTER_END;
	if (!s->connected && !s->connecting)
		return NET_ERR_SOCKET_CLOSED;
	return 0;
}

/* Answers request with status: before on_close if that is still to come. */
static void fail_request(struct net_socket *s, struct request *request, int status)
{
	if (!request)
		return;
	if (s->closed) {
		request_complete(request, status);
		return;
	}
	request->status = status;
	STAILQ_INSERT_TAIL(&s->requests, request, link);
}

static int refuse(struct net_socket *s, struct request *request, int status, enum socket_call call)
{
	socket_fail(s, status, call);
	fail_request(s, request, status);
	return status;
}

/* Sums the sizes; -EINVAL for nonsense. */
static int check_parts(const struct iovec *parts, int count, size_t *ret_total)
{
	size_t total = 0;

	if (count < 0 || (count > 0 && !parts))
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		if ((parts[i].iov_len > 0 && !parts[i].iov_base) ||
		    parts[i].iov_len > SSIZE_MAX - total)
			return -EINVAL;
		total += parts[i].iov_len;
	}

	*ret_total = total;
	return 0;
}

/* How much the kernel took, or a negative error, of what send(2) returned. */
static ssize_t taken(ssize_t n)
{
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n;
}

/* Offers data to the kernel if nothing waits before it. Returns how much it took. */
static ssize_t send_now(struct net_socket *s, const struct iovec *parts, int count, size_t total)
{
	if (total == 0 || must_wait(s))
		return 0;

	timeout_touch(s);
	return taken(
		send_parts(s, (struct iovec *)parts, count < IOV_MAX ? (size_t)count : IOV_MAX));
}

bool write_has_room(const struct net_socket *s, size_t size)
{
	size_t limit = s->extra ? s->extra->write_limit : 0;

	return limit == 0 || s->queue.size + size <= limit;
}

/* Queues all but the first sent bytes. Returns 1, or 0 if that is a lot. */
static int keep_rest(struct net_socket *s, const struct iovec *parts, int count, size_t sent,
		     size_t total, struct request *request)
{
	int r;

	if (!write_has_room(s, total - sent))
		return refuse(s, request, NET_ERR_WRITE_LIMIT, CALL_NONE);

	r = queue_append(&s->queue, parts, count, sent, total, request);
	if (r < 0 && sent == 0) {
		request_free(request);
		return r;
	}
	if (r < 0)
		return refuse(s, request, r, CALL_WRITE);

	s->bytes_written += total;
	socket_update(s);
	if (s->queue.size < s->high_water_mark)
		return 1;
	s->drain_due = true;
	return 0;
}

/* What is left of a write of which the kernel has taken sent bytes. Returns as net_socket_write().
 */
static int finish_write(struct net_socket *s, const struct iovec *parts, int count, ssize_t sent,
			size_t total, struct request *request)
{
	if (sent < 0)
		return refuse(s, request, (int)sent, CALL_WRITE);

	/* An empty write has its turn behind what waits. */
	if ((size_t)sent < total || (total == 0 && request && must_wait(s)))
		return keep_rest(s, parts, count, (size_t)sent, total, request);

	s->bytes_written += total;
	request_complete(request, 0);
	return 1;
}

int net_socket_writev(struct net_socket *s, const struct iovec *parts, int count,
		      net_socket_fn *written, void *ctx)
{
	struct request *request;
	size_t total;
	int r;

	r = check_parts(parts, count, &total);
	if (r < 0)
		return r;
	r = request_new(s, written, ctx, &request);
	if (r < 0)
		return r;

	r = refusal(s);
	if (r < 0)
		return refuse(s, request, r, r == -EPIPE ? CALL_WRITE : CALL_NONE);
	return finish_write(s, parts, count, send_now(s, parts, count, total), total, request);
}

int write_piece(struct net_socket *s, const void *data, size_t size)
{
	const struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	ssize_t sent;
	int r;

	r = refusal(s);
	if (r < 0)
		return refuse(s, NULL, r, CALL_NONE);

	sent = send_now(s, &part, 1, size);
	if (sent < 0) {
		write_failed(s, (int)sent);
		return (int)sent;
	}
	return finish_write(s, &part, 1, sent, size, NULL);
}

/* Whether nothing stands between a write and the kernel. */
static bool writes_plainly(const struct net_socket *s)
{
	return s->connected && !s->failing && !s->ending && !s->destroyed && s->corked == 0 &&
	       queue_is_empty(&s->queue) && !(s->extra && s->extra->pipe_in);
}

/* The two ways on from there, apart: the way of most writes needs no list of parts in memory. */
static OUT_OF_LINE int write_part(struct net_socket *s, struct iovec part, net_socket_fn *written,
				  void *ctx)
{
	return net_socket_writev(s, &part, 1, written, ctx);
}

static OUT_OF_LINE int finish_part(struct net_socket *s, struct iovec part, ssize_t sent)
{
	return finish_write(s, &part, 1, sent, part.iov_len, NULL);
}

int net_socket_write(struct net_socket *s, const void *data, size_t size, net_socket_fn *written,
		     void *ctx)
{
	const struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	ssize_t n;

	if (written || !data || size - 1 >= SSIZE_MAX || !writes_plainly(s))
		return write_part(s, part, written, ctx);

	timeout_touch(s);
	n = send(s->io.fd, data, size, SEND_FLAGS);
	if (n != (ssize_t)size)
		return finish_part(s, part, taken(n));
	s->bytes_written += size;
	return 1;
}

void net_socket_cork(struct net_socket *s)
{
	if (s->corked < UINT16_MAX)
		s->corked++;
	socket_update(s);
}

void net_socket_uncork(struct net_socket *s)
{
	if (s->corked > 0 && --s->corked == 0)
		write_connected(s);
}

/* --- end ------------------------------------------------------------------------------------- */

/* A further end without data shares the outcome of the first. */
static int end_again(struct net_socket *s, struct request *request)
{
	if (s->finish_told) {
		request_complete(request, NET_ERR_STREAM_ALREADY_FINISHED);
	} else if (request) {
		STAILQ_INSERT_TAIL(&s->requests, request, link);
	}
	return 0;
}

int net_socket_end(struct net_socket *s, const void *data, size_t size, net_socket_fn *finished,
		   void *ctx)
{
	const struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	struct request *request;
	size_t total;
	int r;

	r = check_parts(&part, 1, &total);
	if (r < 0)
		return r;
	r = request_new(s, finished, ctx, &request);
	if (r < 0)
		return r;
	if (!s->destroyed && s->ending && size == 0)
		return end_again(s, request);

	r = refusal(s);
	if (r == 0 && size > 0)
		r = net_socket_write(s, data, size, NULL, NULL);
	if (r == -ENOMEM && !s->destroyed) {
		request_free(request);
		return r;
	}
	if (r < 0)
		return refuse(s, request, r, CALL_NONE);

	pipe_stop_in(s);
	s->ending = true;
	s->corked = 0;
	if (request)
		STAILQ_INSERT_TAIL(&s->requests, request, link);
	write_connected(s);
	return 0;
}

int net_socket_destroy_soon(struct net_socket *s)
{
	if (s->destroyed)
		return 0;
	if (!s->connected && !s->connecting) {
		socket_fail(s, 0, CALL_NONE);
		return 0;
	}

	s->destroy_soon = true;
	if (s->finish_told) {
		socket_fail(s, 0, CALL_NONE);
		return 0;
	}
	return net_socket_end(s, NULL, 0, NULL, NULL);
}

/* --- the close ------------------------------------------------------------------------------- */

/* What had begun to go out cannot be called destroyed or sent: it was cut off. */
static int abandoned_status(const struct net_socket *s, bool begun)
{
	if (s->error != 0)
		return s->error;
	if (!s->connected)
		return NET_ERR_SOCKET_CLOSED_BEFORE_CONNECTION;
	return begun ? -ECANCELED : NET_ERR_STREAM_DESTROYED;
}

void write_abandon(struct net_socket *s)
{
	struct request *request;
	bool begun;

	while (queue_take(&s->queue, &begun, &request))
		request_answer(request, abandoned_status(s, begun));

	/* A function that is told here may write again, and be refused into this list. */
	while ((request = STAILQ_FIRST(&s->requests))) {
		STAILQ_REMOVE_HEAD(&s->requests, link);
		request_answer(request,
			       request->status < 0 ? request->status : abandoned_status(s, false));
	}
}
