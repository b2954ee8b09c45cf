#include "common/net/socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/stream.h"
#include "common/net/unwatch.h"

static const struct net_socket_ops no_ops;

/* --- watching -------------------------------------------------------------------------------- */

static void watch_refused(struct net_socket *s)
{
	if (s->unreferenced)
		ev_ref(s->context->loop);
	socket_fail(s, -ENOMEM, CALL_READ);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct net_socket *s = CONTAINER_OF(io, struct net_socket, io);

	if (events & EV_ERROR) {
		watch_refused(s);
		return;
	}
	if (events & EV_WRITE)
		write_ready(s);
	if (events & EV_READ && !s->destroyed)
		read_ready(s);
}

/* libev stops a watch for which the kernel has no room, and says so later: until then it is one. */
static bool has_watch(const struct net_socket *s)
{
	return ev_is_active(&s->io) || ev_is_pending(&s->io);
}

static void watch_stop(struct net_socket *s)
{
	if (!has_watch(s))
		return;
	if (s->unreferenced)
		ev_ref(s->context->loop);
	ev_io_stop(s->context->loop, &s->io);
}

static void watch_start(struct net_socket *s, int events)
{
	ev_io_set(&s->io, s->io.fd, events);
	ev_io_start(s->context->loop, &s->io);
	if (s->unreferenced)
		ev_unref(s->context->loop);
}

void socket_update(struct net_socket *s)
{
	int now = ev_is_active(&s->io) ? s->io.events & (EV_READ | EV_WRITE) : 0;
	int wanted = 0;

	read_update(s);
	if (s->io.fd >= 0 && s->connected) {
		wanted |= read_wanted(s) ? EV_READ : 0;
		wanted |= write_wanted(s) ? EV_WRITE : 0;
	}
	if (wanted == now)
		return;

	watch_stop(s);
	if (wanted != 0)
		watch_start(s, wanted);
}

void net_socket_ref(struct net_socket *s)
{
	if (s->unreferenced && has_watch(s))
		ev_ref(s->context->loop);
	s->unreferenced = false;
}

void net_socket_unref(struct net_socket *s)
{
	if (!s->unreferenced && has_watch(s))
		ev_unref(s->context->loop);
	s->unreferenced = true;
}

/* --- made ------------------------------------------------------------------------------------ */

int socket_create(struct net_context *context, struct net_socket **ret)
{
	/* Not calloc(3), which does not look for it among what this thread has just freed. */
	struct net_socket *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;

	*s = (struct net_socket){
		.context = context,
		.ops = &no_ops,
		.refs = 1,
		.high_water_mark = NET_HIGH_WATER_MARK_DEFAULT,
	};
	ev_io_init(&s->io, on_io, -1, 0);
	queue_init(&s->queue);
	STAILQ_INIT(&s->requests);
	*ret = s;
	return 0;
}

void socket_attach(struct net_socket *s, int fd, const struct addr *peer)
{
	ev_io_set(&s->io, fd, 0);
	s->connected = true;
	s->connecting = false;
	s->is_tcp = peer && addr_family(peer) != 0;
	if (s->is_tcp)
		memcpy(&s->peer, &peer->sa,
		       addr_family(peer) == 4 ? sizeof(peer->in) : sizeof(peer->in6));
}

/* A TCP connection that is over has no peer any more, but a side that was ended, which one that was
 * never connected has not. Reading would tell the two apart as well, and forget a reset. */
static bool was_connected(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLRDHUP};

	return poll(&entry, 1, 0) == 1 && entry.revents & POLLRDHUP;
}

static int wrap(struct net_socket *s, const struct net_socket_options *options)
{
	struct addr peer = {0};
	int r;

	if (!stream_is(options->fd))
		return NET_ERR_INVALID_FD_TYPE;
	r = stream_prepare(options->fd);
	if (r < 0)
		return r;

	/* A socket without a peer is one that net_server_listen() may share. */
	if (addr_of_peer(options->fd, &peer) < 0 && !was_connected(options->fd)) {
		ev_io_set(&s->io, options->fd, 0);
		return 0;
	}

	socket_attach(s, options->fd, &peer);
	if (options->readable && !options->writable)
		s->ending = s->shut = s->finish_told = true;
	if (options->writable && !options->readable)
		s->eof = s->end_told = true;
	return 0;
}

void socket_set_high_water_mark(struct net_socket *s, uint32_t mark)
{
	if (mark != 0)
		s->high_water_mark = mark == NET_HIGH_WATER_MARK_ZERO ? 0 : mark;
}

int socket_set_write_limit(struct net_socket *s, size_t limit)
{
	struct socket_extra *extra;
	int r = limit > 0 ? socket_get_extra(s, &extra) : 0;

	if (r == 0 && limit > 0)
		extra->write_limit = limit;
	return r;
}

static int apply_options(struct net_socket *s, const struct net_socket_options *options)
{
	int r;

	if (!options)
		return 0;

	s->allow_half_open = options->allow_half_open;
	socket_set_high_water_mark(s, options->high_water_mark);
	r = socket_set_write_limit(s, options->write_limit);
	if (r < 0)
		return r;
	return options->has_fd ? wrap(s, options) : 0;
}

int net_socket_new(struct ev_loop *loop, const struct net_socket_options *options,
		   const struct net_socket_ops *ops, void *ctx, struct net_socket **ret)
{
	struct net_context *context;
	struct net_socket *s;
	int r;

	r = context_get(loop, &context);
	if (r < 0)
		return r;

	r = socket_create(context, &s);
	if (r < 0) {
		context_put(context);
		return r;
	}

	r = apply_options(s, options);
	if (r < 0) {
		net_socket_release(s);
		return r;
	}

	net_socket_set_ops(s, ops, ctx);
	*ret = s;
	return 0;
}

/* What was read and not told. */
static void forget_input(struct socket_extra *extra)
{
	free(extra->unread.data);
	extra->unread = (struct unread){0};
	decoder_init(&extra->decoder, extra->decoder.encoding);
}

int socket_get_extra(struct net_socket *s, struct socket_extra **ret)
{
	if (!s->extra) {
		s->extra = calloc(1, sizeof(*s->extra));
		if (!s->extra)
			return -ENOMEM;
	}

	*ret = s->extra;
	return 0;
}

void socket_get_peer(const struct net_socket *s, struct addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->peer.sin6_family == 0)
		return;
	ret->len = s->peer.sin6_family == AF_INET ? sizeof(ret->in) : sizeof(ret->in6);
	memcpy(&ret->sa, &s->peer, ret->len);
}

void net_socket_set_ops(struct net_socket *s, const struct net_socket_ops *ops, void *ctx)
{
	s->ops = ops ? ops : &no_ops;
	s->ctx = ctx;
	read_ops_changed(s);
	socket_update(s);
}

void *net_socket_ctx(const struct net_socket *s)
{
	return s->ctx;
}

/* --- references ------------------------------------------------------------------------------ */

void net_socket_hold(struct net_socket *s)
{
	s->refs++;
}

void net_socket_release(struct net_socket *s)
{
	struct net_context *context = s->context;

	if (--s->refs > 0)
		return;

	if (s->extra) {
		forget_input(s->extra);
		free(s->extra->path);
	}
	free(s->extra);
	free(s);
	context_put(context);
}

int request_new(struct net_socket *s, net_socket_fn *fn, void *ctx, struct request **ret)
{
	struct request *request;

	*ret = NULL;
	if (!fn)
		return 0;

	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;

	request->socket = s;
	request->fn = fn;
	request->ctx = ctx;
	net_socket_hold(s);
	*ret = request;
	return 0;
}

void request_free(struct request *request)
{
	if (!request)
		return;
	net_socket_release(request->socket);
	free(request);
}

void request_answer(struct request *request, int status)
{
	if (!request)
		return;
	request->fn(request->socket, status, request->ctx);
	request_free(request);
}

static void on_request_turn(struct defer *call)
{
	struct request *request = CONTAINER_OF(call, struct request, call);

	request_answer(request, request->status);
}

void request_complete(struct request *request, int status)
{
	if (!request)
		return;
	request->status = status;
	defer_call(&request->socket->context->calls, &request->call, on_request_turn);
}

/* --- destroyed ------------------------------------------------------------------------------- */

static void tell_error(struct net_socket *s)
{
	static const char *const names[] = {[CALL_READ] = "read",
					    [CALL_WRITE] = "write",
					    [CALL_SHUTDOWN] = "shutdown",
					    [CALL_CONNECT] = "connect",
					    [CALL_LOOKUP] = "getaddrinfo"};
	struct error_source source = {.code = s->error, .syscall = names[s->failed_call]};
	char text[ERROR_TEXT_SIZE];
	struct net_error error;

	if (s->error == 0 || !s->ops->on_error || connect_tell_error(s))
		return;

	error_fill(&source, text, &error);
	s->ops->on_error(s, &error, s->ctx);
}

void socket_leave_server(struct net_socket *s)
{
	if (s->server)
		LIST_REMOVE(s, link);
	s->server = NULL;
}

/* The last turn of a life: everything that waited is answered, on_close comes last. */
static void on_close_turn(struct defer *call)
{
	struct net_socket *s = CONTAINER_OF(call, struct net_socket, close_call);

	connect_abandon(s);
	tell_error(s);
	connect_forget(s);
	write_abandon(s);
	s->closed = true;
	if (s->ops->on_close)
		s->ops->on_close(s, s->error != 0, s->ctx);
	socket_leave_server(s);
	net_socket_release(s);
}

static void on_taken_turn(struct defer *call)
{
	net_socket_release(CONTAINER_OF(call, struct net_socket, close_call));
}

int socket_take_fd(struct net_socket *s)
{
	int fd = s->io.fd;

	s->destroyed = s->closed = true;
	timeout_stop(s);
	watch_stop(s);
	context_closing(s->context, fd, false);
	unwatch(s->context, fd);
	ev_io_set(&s->io, -1, 0);
	if (s->server)
		server_connection_ended(s->server);
	socket_leave_server(s);
	defer_call(&s->context->calls, &s->close_call, on_taken_turn);
	return fd;
}

static void close_descriptor(struct net_socket *s)
{
	if (s->io.fd < 0)
		return;
	/* One that is not connected any more need not be told. */
	if (context_lingers(s->context, s->io.fd))
		shutdown(s->io.fd, SHUT_RDWR);
	if (context_closing(s->context, s->io.fd, s->eof && s->shut) || s->shared)
		unwatch(s->context, s->io.fd);
	close(s->io.fd);
	ev_io_set(&s->io, -1, 0);
}

void socket_fail(struct net_socket *s, int error, enum socket_call call)
{
	if (s->destroyed)
		return;

	s->destroyed = true;
	s->connecting = false;
	s->error = error;
	s->failed_call = (uint8_t)call;
	timeout_stop(s);
	connect_cancel(s);
	pipe_break(s);

	watch_stop(s);
	close_descriptor(s);

	defer_call(&s->context->calls, &s->close_call, on_close_turn);
	if (s->server)
		server_connection_ended(s->server);
}

void socket_reopen(struct net_socket *s)
{
	socket_leave_server(s);
	net_socket_hold(s);
	s->connected = s->destroyed = s->closed = false;
	s->eof = s->end_told = s->data_waits = false;
	s->ending = s->auto_ended = s->shut = s->finish_told = s->finish_waits = false;
	s->drain_due = s->drain_waits = s->destroy_soon = s->reset_on_connect = false;
	s->failing = s->shared = false;
	s->corked = 0;
	s->error = 0;
	s->failed_call = CALL_NONE;
	s->bytes_read = 0;
	s->bytes_written = 0;
	memset(&s->peer, 0, sizeof(s->peer));
	if (s->extra)
		forget_input(s->extra);
	read_ops_changed(s);
}

void net_socket_destroy(struct net_socket *s, int error)
{
	socket_fail(s, error > 0 ? -error : error, CALL_NONE);
}

void socket_end_if_done(struct net_socket *s)
{
	if (s->end_told && s->finish_told)
		socket_fail(s, 0, CALL_NONE);
}

int net_socket_reset_and_destroy(struct net_socket *s)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (s->destroyed || (!s->connected && !s->connecting))
		return NET_ERR_SOCKET_CLOSED;
	if (s->connecting ? s->extra->path != NULL : !s->is_tcp)
		return NET_ERR_INVALID_HANDLE_TYPE;
	if (s->connecting) {
		s->reset_on_connect = true;
		return 0;
	}
	if (s->shut)
		return -EINVAL;

	if (setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == -1)
		return -errno;
	socket_fail(s, 0, CALL_NONE);
	return 0;
}
