#include "common/net/server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/unwatch.h"

static const struct net_server_ops no_ops;

int net_create_server(struct ev_loop *loop, const struct net_server_options *options,
		      const struct net_server_ops *ops, void *ctx, struct net_server **ret)
{
	struct net_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;

	r = context_get(loop, &server->context);
	if (r < 0) {
		free(server);
		return r;
	}

	if (options)
		server->options = *options;
	server->ops = ops ? ops : &no_ops;
	server->ctx = ctx;
	server->bound.fd = -1;
	server->max_connections = NET_NO_LIMIT;
	server->refs = 1;
	STAILQ_INIT(&server->closers);
	LIST_INIT(&server->sockets);
	*ret = server;
	return 0;
}

void server_hold(struct net_server *server)
{
	server->refs++;
}

void server_release(struct net_server *server)
{
	struct net_context *context = server->context;

	if (--server->refs > 0)
		return;
	free(server);
	context_put(context);
}

void server_tell_error(struct net_server *server, const struct error_source *source)
{
	char text[ERROR_TEXT_SIZE];
	struct net_error error;

	if (server->freed || !server->ops->on_error)
		return;
	error_fill(source, text, &error);
	server->ops->on_error(server, &error, server->ctx);
}

/* --- completions ----------------------------------------------------------------------------- */

static int call_new(struct net_server *server, void *ctx, struct server_call **ret)
{
	struct server_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;

	call->server = server;
	call->ctx = ctx;
	server_hold(server);
	*ret = call;
	return 0;
}

static void call_free(struct server_call *call)
{
	server_release(call->server);
	free(call);
}

static void on_call_turn(struct defer *defer)
{
	struct server_call *call = CONTAINER_OF(defer, struct server_call, call);
	struct net_server *server = call->server;

	if (!server->freed && call->fn)
		call->fn(server, call->status, call->ctx);
	else if (!server->freed && call->count)
		call->count(server, 0, server->connections + call->elsewhere, call->ctx);
	call_free(call);
}

int server_open_unbound(struct net_server *server)
{
	if (server->open)
		return NET_ERR_SERVER_ALREADY_LISTEN;
	server->period++;
	server->open = true;
	return 0;
}

/* --- close ----------------------------------------------------------------------------------- */

static void answer_closers(struct net_server *server)
{
	struct server_call *call;

	while ((call = STAILQ_FIRST(&server->closers))) {
		STAILQ_REMOVE_HEAD(&server->closers, link);
		on_call_turn(&call->call);
	}
}

/* Closed, and no connection is left, here or elsewhere. */
static bool is_drained(struct net_server *server)
{
	bool none_elsewhere;

	if (!server->closing)
		return false;
	none_elsewhere = !server->remote || server->remote->close(server->remote);
	return none_elsewhere && server->connections == 0;
}

static void on_close_turn(struct defer *defer)
{
	struct net_server *server = CONTAINER_OF(defer, struct net_server, close_call);

	if (is_drained(server)) {
		server->closing = false;
		context_tell_drained(server->context, server);
		answer_closers(server);
		/* Who listens again by now would be misled by the end of the last time. */
		if (!server->freed && !server->open && !server->closing && server->ops->on_close)
			server->ops->on_close(server, server->ctx);
	}
	server_release(server);
}

static void close_if_drained(struct net_server *server)
{
	if (!is_drained(server) || defer_waits(&server->close_call))
		return;
	server_hold(server);
	defer_call(&server->context->calls, &server->close_call, on_close_turn);
}

void server_connection_ended(struct net_server *server)
{
	server->connections--;
	close_if_drained(server);
}

void server_remote_ended(struct net_server *server)
{
	close_if_drained(server);
}

/* Gives up the listening socket, or the wait for it. */
static void stop_listening(struct net_server *server, bool silent)
{
	bool provided = server->provided;

	listen_cancel(server, silent);
	accept_stop(server);
	if (server->bound.fd >= 0)
		unwatch(server->context, server->bound.fd);
	bound_close(&server->bound);
	server->open = false;
	server->listens = false;
	server->provided = false;
	if (provided)
		context_give_back(server->context, server, server->period);
}

int net_server_close(struct net_server *server, net_server_fn *done, void *ctx)
{
	bool was_open = server->open;
	struct server_call *call = NULL;
	int r = done ? call_new(server, ctx, &call) : 0;

	if (call)
		call->fn = done;
	if (was_open) {
		stop_listening(server, false);
		server->closing = true;
		if (call)
			STAILQ_INSERT_TAIL(&server->closers, call, link);
		close_if_drained(server);
	} else if (call) {
		call->status = NET_ERR_SERVER_NOT_RUNNING;
		defer_call(&server->context->calls, &call->call, on_call_turn);
	}
	return r;
}

void net_server_close_all_connections(struct net_server *server)
{
	struct net_socket *s;

	LIST_FOREACH (s, &server->sockets, link)
		socket_fail(s, 0, CALL_NONE);
}

void net_server_free(struct net_server *server)
{
	struct net_socket *s;

	if (!server)
		return;

	server->freed = true;
	stop_listening(server, true);
	while ((s = LIST_FIRST(&server->sockets)))
		socket_leave_server(s);
	if (server->remote)
		server->remote->free(server->remote);
	server->remote = NULL;
	context_tell_drained(server->context, server);
	answer_closers(server);
	server_release(server);
}

/* --- questions ------------------------------------------------------------------------------- */

int net_server_address(const struct net_server *server, struct net_address *ret)
{
	if (!server->listens)
		return -ENOTCONN;
	addr_to_net(&server->bound.addr, ret);
	return 0;
}

bool net_server_listening(const struct net_server *server)
{
	return server->listens;
}

static void on_elsewhere_counted(size_t count, void *arg)
{
	struct server_call *call = arg;

	call->elsewhere = count;
	on_call_turn(&call->call);
}

int net_server_get_connections(struct net_server *server, net_count_fn *count, void *ctx)
{
	struct server_call *call;
	int r = call_new(server, ctx, &call);

	if (r < 0)
		return r;
	call->count = count;
	if (server->remote) {
		r = server->remote->count(server->remote, on_elsewhere_counted, call);
		if (r < 0)
			call_free(call);
		return r;
	}
	defer_call(&server->context->calls, &call->call, on_call_turn);
	return 0;
}

size_t net_server_connections(const struct net_server *server)
{
	return server->connections;
}

struct net_socket *server_next_connection(const struct net_server *server,
					  const struct net_socket *socket)
{
	struct net_socket *next = socket ? LIST_NEXT(socket, link) : LIST_FIRST(&server->sockets);

	while (next && next->destroyed)
		next = LIST_NEXT(next, link);
	return next;
}

void net_server_set_max_connections(struct net_server *server, long limit)
{
	server->max_connections = limit < 0 ? NET_NO_LIMIT : limit;
}

long net_server_max_connections(const struct net_server *server)
{
	return server->max_connections;
}

void net_server_set_ops(struct net_server *server, const struct net_server_ops *ops, void *ctx)
{
	server->ops = ops ? ops : &no_ops;
	server->ctx = ctx;
}

void *net_server_ctx(const struct net_server *server)
{
	return server->ctx;
}
