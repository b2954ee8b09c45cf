/* From the kernel's queue to sockets. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/block_list.h"
#include "common/net/server.h"
#include "common/net/unwatch.h"
#include "common/net/waiting.h"

/* Connections taken in one wake-up. */
#define ACCEPTS_MAX 64

/* No queue is longer: the kernel keeps its length in 16 bits of listen(2)'s backlog. */
#define QUEUE_MAX 65535

/* Without descriptors or memory clients wait in the queue for this long before the next try. */
#define PAUSE_SECONDS 0.1

/* --- watching -------------------------------------------------------------------------------- */

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events);
static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events);

/* libev stops a watch for which the kernel has no room, and says so later: until then it is one. */
static bool is_watching(const struct net_server *server)
{
	return server->parked || ev_is_active(&server->io) || ev_is_pending(&server->io) ||
	       ev_is_active(&server->pause) || ev_is_pending(&server->pause);
}

static bool gate_is_open(const struct net_server *server)
{
	return !server->gate || server->gate->is_open(server->gate_ctx);
}

static void park(struct net_server *server)
{
	ev_io_stop(server->context->loop, &server->io);
	server->parked = true;
	if (server->gate->on_parked)
		server->gate->on_parked(server->bound.fd);
}

static void watch(struct net_server *server)
{
	server->parked = false;
	if (!gate_is_open(server)) {
		park(server);
		return;
	}
	ev_io_init(&server->io, on_acceptable, server->bound.fd, EV_READ);
	ev_io_start(server->context->loop, &server->io);
}

void accept_start(struct net_server *server)
{
	ev_init(&server->io, on_acceptable);
	ev_timer_init(&server->pause, on_pause_over, PAUSE_SECONDS, 0.);
	watch(server);
	if (server->unreferenced)
		ev_unref(server->context->loop);
}

void accept_stop(struct net_server *server)
{
	if (!is_watching(server))
		return;
	if (server->unreferenced)
		ev_ref(server->context->loop);
	ev_io_stop(server->context->loop, &server->io);
	ev_timer_stop(server->context->loop, &server->pause);
	server->parked = false;
}

/* Stops asking; a listener that stays readable would keep the loop busy with nothing. The kernel is
 * not to wake us meanwhile in the place of somebody else. */
static void pause_accepting(struct net_server *server, int error)
{
	server->parked = false;
	ev_io_stop(server->context->loop, &server->io);
	unwatch(server->context, server->bound.fd);
	if (server->sharing)
		server->sharing->is_short(error, server->sharing_ctx);
	if (server_is_short(server))
		return;
	ev_timer_set(&server->pause, PAUSE_SECONDS, 0.);
	ev_timer_start(server->context->loop, &server->pause);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	watch(CONTAINER_OF(timer, struct net_server, pause));
}

void net_server_ref(struct net_server *server)
{
	if (server->unreferenced && is_watching(server))
		ev_ref(server->context->loop);
	server->unreferenced = false;
}

void net_server_unref(struct net_server *server)
{
	if (!server->unreferenced && is_watching(server))
		ev_unref(server->context->loop);
	server->unreferenced = true;
}

/* --- one connection -------------------------------------------------------------------------- */

bool server_has_room(const struct net_server *server)
{
	return server->max_connections == NET_NO_LIMIT ||
	       server->connections < (size_t)server->max_connections;
}

static void tell_drop(struct net_server *server, int fd, const struct addr *peer)
{
	struct net_drop drop;
	struct addr local;

	if (!server->ops->on_drop)
		return;

	addr_to_net(peer, &drop.remote);
	if (addr_of_socket(fd, &local) < 0)
		local.len = 0;
	addr_to_net(&local, &drop.local);
	server->ops->on_drop(server, &drop, server->ctx);
}

static void apply_options(struct net_server *server, struct net_socket *s)
{
	const struct net_server_options *options = &server->options;

	s->allow_half_open = options->allow_half_open;
	socket_set_high_water_mark(s, options->high_water_mark);
	if (options->pause_on_connect)
		s->read_state = READ_PAUSED;

	/* A peer that is gone already may make these fail; reading will tell. */
	if (options->no_delay)
		net_socket_set_no_delay(s, true);
	if (options->keep_alive)
		net_socket_set_keep_alive(s, true, options->keep_alive_initial_delay_ms);
}

void server_enter(struct net_server *server, struct net_socket *s)
{
	s->server = server;
	s->accepted_us = context_now_us(server->context);
	LIST_INSERT_HEAD(&server->sockets, s, link);
	server->connections++;
}

/* Whatever may be lacking for one more connection. */
static int prepare(struct net_server *server, struct net_socket **ret)
{
	struct net_socket *s;
	int r = socket_create(server->context, &s);

	if (r < 0)
		return r;
	context_hold(server->context);
	r = socket_set_write_limit(s, server->options.write_limit);
	if (r < 0) {
		net_socket_release(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* Whether it is to be one. */
static int check_welcome(struct net_server *server, int fd, const struct addr *peer)
{
	if (!server->ops->on_connection)
		return -ENOTCONN;
	if (!server_has_room(server)) {
		tell_drop(server, fd, peer);
		return -EBUSY;
	}
	if (block_list_check_addr(server->options.block_list, peer)) {
		tell_drop(server, fd, peer);
		return NET_ERR_IP_BLOCKED;
	}
	return 0;
}

static void admit(struct net_server *server, struct net_socket *s, int fd, const struct addr *peer)
{
	socket_attach(s, fd, peer);
	apply_options(server, s);
	server_enter(server, s);
	server->ops->on_connection(server, s, server->ctx);
	if (s->server)
		read_early(s);
	socket_update(s);
}

int server_adopt(struct net_server *server, int fd_given, const struct addr *peer)
{
	AUTO_CLOSE int fd = fd_given;
	struct net_socket *s;
	int r = check_welcome(server, fd, peer);

	if (r == 0)
		r = prepare(server, &s);
	if (r == 0)
		admit(server, s, take_fd(&fd), peer);
	return r;
}

/* --- the queue ------------------------------------------------------------------------------- */

static void report(struct net_server *server, int error)
{
	const struct error_source source = {
		.code = error, .syscall = "accept", .addr = &server->bound.addr};

	server_tell_error(server, &source);
}

/* Decides what a failed accept4(), or not coming to it, means: 0 to go on, 1 to wait for the next
 * event. */
static int accept_failed(struct net_server *server, int error)
{
	if (error == EAGAIN)
		return 1;
	if (error_is_of_one_connection(error))
		return 0;

	pause_accepting(server, -error);
	if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
		report(server, -error);
	return 1;
}

/* Who is accepted and cannot be served for want of memory would be lost, and so would the next
 * ones: what memory there must be is there before. Returns 0 to go on, 1 to wait. */
static int accept_one(struct net_server *server)
{
	struct addr peer = {.len = sizeof(peer.un)};
	AUTO_CLOSE int fd = -1;
	struct net_socket *s;
	int error = prepare(server, &s);

	if (error < 0)
		return accept_failed(server, -error);
	fd = accept4(server->bound.fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd == -1) {
		error = errno;
		net_socket_release(s);
		return accept_failed(server, error);
	}
	if (check_welcome(server, fd, &peer) == 0)
		admit(server, s, take_fd(&fd), &peer);
	else
		net_socket_release(s);
	return 0;
}

/* Takes at most limit connections. */
static void accept_some(struct net_server *server, int limit)
{
	unsigned period = server->period;
	int count = 0;

	server_hold(server);
	while (count < limit && gate_is_open(server) && accept_one(server) == 0) {
		count++;
		if (server->period != period || server->bound.fd < 0 ||
		    !somebody_waits(server->bound.fd))
			break;
	}
	if (server->period == period && ev_is_active(&server->io) && !gate_is_open(server))
		park(server);
	if (count > 0 && server->sharing && server->sharing->accepted && server->bound.fd >= 0)
		server->sharing->accepted(server->bound.fd, server->sharing_ctx);
	server_release(server);
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events)
{
	struct net_server *server = CONTAINER_OF(io, struct net_server, io);

	if (events & EV_ERROR)
		pause_accepting(server, 0);
	else
		accept_some(server, ACCEPTS_MAX);
}

void server_set_gate(struct net_server *server, const struct server_gate *gate, void *ctx)
{
	server->gate = gate;
	server->gate_ctx = ctx;
}

void server_unpark(struct net_server *server)
{
	if (server->parked)
		watch(server);
}

void server_accept_now(struct net_server *server)
{
	if (server->bound.fd >= 0 && is_watching(server) && !server_is_short(server))
		accept_some(server, ACCEPTS_MAX);
}

bool server_is_short(const struct net_server *server)
{
	return ev_is_active(&server->pause) || ev_is_pending(&server->pause);
}

void server_empty_queue(struct net_server *server)
{
	if (server->bound.fd >= 0)
		accept_some(server, QUEUE_MAX);
}

void server_share(struct net_server *server, const struct server_sharing *sharing, void *ctx)
{
	server->sharing = sharing;
	server->sharing_ctx = ctx;
}
