#include "common/net/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/socket.h"
#include "common/net/stream.h"

/* --- away ------------------------------------------------------------------------------------ */

int transfer_check(const struct net_socket *s)
{
	const struct socket_extra *extra = s->extra;

	if (s->destroyed)
		return NET_ERR_STREAM_DESTROYED;
	if (s->connecting)
		return -EALREADY;
	if (!s->connected || s->io.fd < 0)
		return -ENOTCONN;
	/* A pipe from it may hold bytes inside the kernel, one into it will bring more. */
	if (!queue_is_empty(&s->queue) || !STAILQ_EMPTY(&s->requests) || pipe_pending(s) > 0 ||
	    (extra && (extra->pipe_in || extra->pipe_out)))
		return -EBUSY;
	return transfer_unread_size(s) > TRANSFER_UNREAD_MAX ? -ENOBUFS : 0;
}

static void save_peer(const struct net_socket *s, struct addr *ret)
{
	socket_get_peer(s, ret);
	if (ret->len == 0 && s->extra && s->extra->path)
		addr_unix(s->extra->path, ret);
}

void transfer_save_socket(const struct net_socket *s, struct transfer *ret)
{
	*ret = (struct transfer){
		.allow_half_open = s->allow_half_open,
		.paused = s->read_state == READ_PAUSED,
		.ended = s->shut,
		.no_delay = s->no_delay,
		.keep_alive = s->keep_alive,
		.high_water_mark = s->high_water_mark,
	};
	if (s->extra) {
		ret->write_limit = s->extra->write_limit;
		ret->keep_alive_initial_delay_ms = s->extra->keep_alive_initial_delay_ms;
		ret->type_of_service = s->extra->type_of_service;
	}
	save_peer(s, &ret->peer);
}

/* In the order in which they came. */
static size_t held_size(const struct net_socket *s)
{
	const struct decoder *decoder = s->extra ? &s->extra->decoder : NULL;

	return decoder && decoder->encoding != NET_ENCODING_NONE ? decoder->held_size : 0;
}

size_t transfer_unread_size(const struct net_socket *s)
{
	return held_size(s) + (s->extra ? s->extra->unread.size : 0);
}

void transfer_copy_unread(const struct net_socket *s, void *data)
{
	char *end = data;

	if (transfer_unread_size(s) == 0)
		return;
	end = mempcpy(end, s->extra->decoder.held, held_size(s));
	if (s->extra->unread.size > 0)
		memcpy(end, s->extra->unread.data + s->extra->unread.begin, s->extra->unread.size);
}

int transfer_detach(struct net_socket *s)
{
	return socket_take_fd(s);
}

int transfer_fd(const struct net_socket *s)
{
	return s->io.fd;
}

int transfer_hold(struct net_socket *s)
{
	struct socket_extra *extra;
	int r = socket_get_extra(s, &extra);

	if (r < 0)
		return r;
	extra->transfers++;
	net_socket_hold(s);
	return 0;
}

void transfer_release(struct net_socket *s)
{
	s->extra->transfers--;
	net_socket_release(s);
}

bool transfer_waits(const struct net_socket *s)
{
	return s->extra && s->extra->transfers > 0;
}

void transfer_share_socket(struct net_socket *s)
{
	s->shared = true;
}

/* --- back ------------------------------------------------------------------------------------ */

/* A Unix peer that was connected to has a path, which the kernel may no longer know. */
static int restore_path(struct socket_extra *extra, const struct addr *peer)
{
	struct net_address path;

	if (peer->len == 0 || addr_family(peer) != 0)
		return 0;
	addr_to_net(peer, &path);
	extra->path = strdup(path.address);
	return extra->path ? 0 : -ENOMEM;
}

/* Most sockets need none of it, nor the memory for it. */
static int restore_extra(struct net_socket *s, const struct transfer *from)
{
	bool has_path = from->peer.len > 0 && addr_family(&from->peer) == 0;
	struct socket_extra *extra;
	int r;

	if (from->keep_alive_initial_delay_ms == 0 && from->type_of_service == 0 &&
	    from->write_limit == 0 && !has_path)
		return 0;

	r = socket_get_extra(s, &extra);
	if (r < 0)
		return r;
	extra->keep_alive_initial_delay_ms = from->keep_alive_initial_delay_ms;
	extra->type_of_service = from->type_of_service;
	extra->write_limit = from->write_limit;
	return restore_path(extra, &from->peer);
}

static void restore_marks(struct net_socket *s, const struct transfer *from)
{
	s->allow_half_open = from->allow_half_open;
	s->no_delay = from->no_delay;
	s->keep_alive = from->keep_alive;
	s->high_water_mark = from->high_water_mark;
	if (from->paused)
		s->read_state = READ_PAUSED;
	if (from->ended)
		s->ending = s->shut = s->finish_told = true;
}

/* Whether fd is a stream socket of that kind of address, listening or not. */
static bool is_socket(int fd, const struct addr *addr, int listens)
{
	int domain, accepts;
	socklen_t size = sizeof(int);

	if (!stream_is(fd) || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == -1 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) == -1)
		return false;
	if ((accepts != 0) != listens)
		return false;
	return addr->len == 0 ? domain == AF_UNIX || listens : addr->sa.sa_family == domain;
}

int transfer_socket(struct ev_loop *loop, int fd, const struct transfer *from,
		    struct net_socket **ret)
{
	struct net_socket *s;
	int r;

	if (!is_socket(fd, &from->peer, false))
		return NET_ERR_INVALID_FD_TYPE;
	r = stream_prepare(fd);
	if (r == 0)
		r = net_socket_new(loop, NULL, NULL, NULL, &s);
	if (r < 0)
		return r;
	r = restore_extra(s, from);
	if (r < 0) {
		net_socket_release(s);
		return r;
	}

	socket_attach(s, fd, &from->peer);
	s->shared = true; /* the sender may have kept it */
	restore_marks(s, from);
	*ret = s;
	return 0;
}

void transfer_begin_socket(struct net_socket *s)
{
	if (!s->destroyed)
		socket_update(s);
}

/* --- servers --------------------------------------------------------------------------------- */

int transfer_save_server(const struct net_server *server, struct transfer *ret, int *ret_fd)
{
	const struct net_server_options *options = &server->options;

	if (!server->listens)
		return NET_ERR_SERVER_NOT_RUNNING;
	if (server->bound.fd < 0)
		return NET_ERR_INVALID_HANDLE_TYPE;

	*ret = (struct transfer){
		.allow_half_open = options->allow_half_open,
		.paused = options->pause_on_connect,
		.no_delay = options->no_delay,
		.keep_alive = options->keep_alive,
		.keep_alive_initial_delay_ms = options->keep_alive_initial_delay_ms,
		.high_water_mark = options->high_water_mark,
		.write_limit = options->write_limit,
	};
	*ret_fd = server->bound.fd;
	return 0;
}

int transfer_server(struct ev_loop *loop, int fd, const struct transfer *from,
		    struct net_server **ret)
{
	const struct net_server_options options = {
		.allow_half_open = from->allow_half_open,
		.pause_on_connect = from->paused,
		.no_delay = from->no_delay,
		.keep_alive = from->keep_alive,
		.keep_alive_initial_delay_ms = from->keep_alive_initial_delay_ms,
		.high_water_mark = from->high_water_mark,
		.write_limit = from->write_limit,
	};
	static const struct addr none;
	struct bound bound = {.fd = fd};
	int r;

	if (!is_socket(fd, &none, true))
		return NET_ERR_INVALID_FD_TYPE;
	r = stream_prepare(fd);
	if (r == 0)
		r = addr_of_socket(fd, &bound.addr);
	if (r == 0)
		r = net_create_server(loop, &options, NULL, NULL, ret);
	if (r == 0)
		server_take_bound(*ret, &bound);
	return r;
}

void transfer_begin_server(struct net_server *server)
{
	if (server->bound.fd >= 0)
		accept_start(server);
}
