/* From options to a listening socket: arguments, name, bind, and the news of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/lookup.h"
#include "common/net/server.h"

/* One listen, until its outcome is told. */
struct listening {
	struct defer call;
	struct net_server *server; /* holds a reference */
	net_server_fn *fn;
	void *ctx;
	struct bind_options options;
	char *host;
	struct addr addr; /* for the text of an error */
	unsigned period;
	int status;
	const char *syscall;
	struct lookup *lookup; /* of host, under way */
	bool provided;
};

/* --- the outcome ----------------------------------------------------------------------------- */

static void listening_free(struct listening *l)
{
	server_release(l->server);
	free(l->host);
	free(l);
}

/* Whether the server still listens, or waits, because of l. */
static bool is_current(const struct listening *l)
{
	return l->server->open && l->server->period == l->period;
}

static void tell_success(struct listening *l)
{
	struct net_server *server = l->server;

	if (l->fn)
		l->fn(server, 0, l->ctx);
	if (is_current(l) && server->ops->on_listening)
		server->ops->on_listening(server, server->ctx);
}

static void tell_failure(struct listening *l)
{
	struct net_server *server = l->server;
	const struct error_source source = {.code = l->status,
					    .syscall = l->syscall,
					    .addr = l->addr.len > 0 ? &l->addr : NULL,
					    .host = l->addr.len > 0 ? NULL : l->host};

	if (l->fn)
		l->fn(server, l->status, l->ctx);
	server_tell_error(server, &source);
}

/* Tells the outcome, and ends l. Runs in a turn of its own. */
static void tell(struct listening *l)
{
	struct net_server *server = l->server;

	if (server->freed) {
		listening_free(l);
		return;
	}

	if (l->status < 0 && l->status != -ECANCELED)
		tell_failure(l);
	else if (l->status == 0 && is_current(l))
		tell_success(l);
	else if (l->fn)
		l->fn(server, -ECANCELED, l->ctx);
	listening_free(l);
}

static void on_tell_turn(struct defer *call)
{
	tell(CONTAINER_OF(call, struct listening, call));
}

static void tell_later(struct listening *l)
{
	defer_call(&l->server->context->calls, &l->call, on_tell_turn);
}

/* The period ends without having begun. */
static void note_failure(struct listening *l, int status)
{
	l->server->listening = NULL;
	l->server->open = false;
	l->status = status;
}

static void note_success(struct listening *l, const struct bound *bound)
{
	struct net_server *server = l->server;

	server->listening = NULL;
	server->bound = *bound;
	server->provided = l->provided;
	server->listens = true;
	if (bound->fd >= 0)
		accept_start(server);
}

static void settle(struct listening *l, int r, const struct bound *bound)
{
	if (r < 0)
		note_failure(l, r);
	else
		note_success(l, bound);
}

/* --- ways to a socket ------------------------------------------------------------------------ */

/* Returns which system call failed, if one did. */
static const char *bind_now(struct listening *l)
{
	struct bound bound;
	const char *which;
	int r = bind_open(&l->options, &bound, &which);

	/* A busy address may show at bind or at listen: both are said in the same words. */
	l->syscall = "listen";
	settle(l, r, &bound);
	return which;
}

/* Modes that cannot be set are the caller's mistake, like wrong arguments, and known at once. */
static int bind_in_the_call(struct listening *l)
{
	const char *which = bind_now(l);
	int r = l->status;

	if (r < 0 && strcmp(which, "chmod") == 0) {
		listening_free(l);
		return r;
	}
	tell_later(l);
	return 0;
}

static void on_bind_turn(struct defer *call)
{
	struct listening *l = CONTAINER_OF(call, struct listening, call);

	if (l->status == 0)
		bind_now(l);
	tell(l);
}

static void on_looked_up(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct listening *l = ctx;
	struct net_address chosen;

	l->lookup = NULL;
	if (status < 0) {
		note_failure(l, status);
	} else {
		l->addr = *bind_choose(addresses, count);
		addr_to_net(&l->addr, &chosen);
		l->options.host = chosen.address;
		bind_now(l);
	}
	tell(l);
}

/* Binds on a later turn, once the host's address is known. */
static void look_up(struct listening *l)
{
	const struct resolve_request request = {.host = l->host, .port = l->options.port};
	int r = lookup_start(l->server->context->loop, &request, on_looked_up, l, &l->lookup);

	l->syscall = "getaddrinfo";
	if (r >= 0)
		return;
	note_failure(l, r);
	tell_later(l);
}

static void adopt_now(struct listening *l, int fd, int backlog)
{
	struct bound bound;
	int r = bind_adopt(fd, backlog, &bound, &l->syscall);

	if (r < 0)
		close_fd(fd);
	l->syscall = "listen";
	settle(l, r, &bound);
}

void server_listened(struct net_server *server, unsigned ticket, int status, int fd,
		     const struct addr *addr, const char *syscall_name)
{
	struct listening *l = server->listening;
	struct bound bound = {.fd = fd};

	if (!l || l->period != ticket || !l->provided) {
		close_fd(fd);
		return;
	}

	if (addr)
		bound.addr = *addr;
	else if (status == 0)
		status = addr_of_socket(fd, &bound.addr);
	if (status < 0)
		close_fd(fd);
	l->syscall = syscall_name;
	settle(l, status, &bound);
	tell(l);
}

void listen_cancel(struct net_server *server, bool silent)
{
	struct listening *l = server->listening;

	if (!l)
		return;

	server->listening = NULL;
	lookup_cancel(l->lookup);
	l->lookup = NULL;
	l->status = -ECANCELED;
	if (silent)
		l->fn = NULL;
	if (l->provided)
		context_give_back(server->context, server, l->period);
	if (!defer_waits(&l->call))
		tell_later(l);
}

void server_take_bound(struct net_server *server, const struct bound *bound)
{
	server->period++;
	server->bound = *bound;
	server->open = true;
	server->listens = true;
}

/* --- arguments ------------------------------------------------------------------------------- */

static int check_path(const struct net_listen_options *options)
{
	struct addr addr;
	int r = addr_unix(options->path, &addr);

	if (r < 0)
		return r;
	if (addr_is_abstract(&addr) && (options->readable_all || options->writable_all))
		return NET_ERR_INVALID_ARG_VALUE;
	return 0;
}

/* Port 0 is a port, which only has_port can say; any other says so itself. */
static bool wants_port(const struct net_listen_options *options)
{
	return options->has_port || options->port != 0;
}

static int check(const struct net_server *server, const struct net_listen_options *options)
{
	/* While a name is looked up there is nothing yet that listens. */
	if (server->open && !server->listening)
		return NET_ERR_SERVER_ALREADY_LISTEN;
	if (options->backlog < 0)
		return NET_ERR_OUT_OF_RANGE;

	if (options->server)
		return options->server->bound.fd < 0 ? NET_ERR_INVALID_ARG_VALUE : 0;
	if (options->socket)
		return options->socket->io.fd < 0 ? NET_ERR_INVALID_ARG_VALUE : 0;
	if (options->has_fd)
		return options->fd < 0 ? NET_ERR_INVALID_ARG_VALUE : 0;
	if (wants_port(options))
		return options->port < 0 || options->port > UINT16_MAX ? NET_ERR_SOCKET_BAD_PORT
								       : 0;
	return options->path ? check_path(options) : NET_ERR_INVALID_ARG_VALUE;
}

/* A descriptor that is given, or -1: the server's own from then on. */
static int given_fd(const struct net_listen_options *options, int *ret)
{
	int from = options->server   ? options->server->bound.fd
		   : options->socket ? options->socket->io.fd
				     : -1;

	*ret = from >= 0 ? fcntl(from, F_DUPFD_CLOEXEC, 3) : options->has_fd ? options->fd : -1;
	return from >= 0 && *ret == -1 ? -errno : 0;
}

/* What an error will name. A host that is no address stays a host; a descriptor has neither. */
static void note_address(struct listening *l, const struct net_listen_options *options)
{
	uint16_t port = (uint16_t)options->port;

	if (options->has_fd)
		return;
	if (!wants_port(options))
		addr_unix(options->path, &l->addr);
	else if (!options->host)
		addr_any(AF_INET6, port, &l->addr);
	else if (addr_parse(options->host, port, &l->addr) < 0)
		l->addr.len = 0;
}

static void note_options(struct listening *l, const struct net_listen_options *options)
{
	l->options = (struct bind_options){
		.host = l->host,
		.has_port = wants_port(options),
		.port = (uint16_t)options->port,
		.path = wants_port(options) ? NULL : options->path,
		.backlog = options->backlog,
		.ipv6_only = options->ipv6_only,
		.reuse_port = options->reuse_port,
		.readable_all = options->readable_all,
		.writable_all = options->writable_all,
	};
}

static int listening_new(struct net_server *server, const struct net_listen_options *options,
			 net_server_fn *done, void *ctx, struct listening **ret)
{
	struct listening *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	if (options->host) {
		l->host = strdup(options->host);
		if (!l->host) {
			free(l);
			return -ENOMEM;
		}
	}

	l->server = server;
	l->fn = done;
	l->ctx = ctx;
	server_hold(server);
	*ret = l;
	return 0;
}

/* --- listen ---------------------------------------------------------------------------------- */

static void begin_period(struct net_server *server, struct listening *l)
{
	listen_cancel(server, false);
	l->period = ++server->period;
	server->open = true;
	server->listening = l;
}

/* Gets the socket itself, in the call or, with a host, on a later turn. */
static int listen_here(struct listening *l, const struct net_listen_options *options)
{
	note_address(l, options);
	note_options(l, options);
	if (!l->options.has_port || !l->host)
		return bind_in_the_call(l);

	if (l->addr.len > 0)
		defer_call(&l->server->context->calls, &l->call, on_bind_turn);
	else
		look_up(l);
	return 0;
}

/* A socket that the caller holds is not asked for; the number of one may be. */
static bool goes_to_provider(const struct net_server *server,
			     const struct net_listen_options *options)
{
	return server->context->provider && !options->exclusive && !options->reuse_port &&
	       !options->server && !options->socket;
}

static int listen_by_provider(struct listening *l, const struct net_listen_options *options)
{
	struct net_server *server = l->server;
	int r;

	note_address(l, options);
	l->provided = true;
	r = server->context->provider->listen(server->context->provider_ctx, server, options,
					      l->period);
	if (r < 0) {
		server->listening = NULL;
		server->open = false;
		listening_free(l);
	}
	return r;
}

int net_server_listen(struct net_server *server, const struct net_listen_options *options,
		      net_server_fn *done, void *ctx)
{
	static const struct net_listen_options any = {.has_port = true};
	struct listening *l;
	int fd = -1, r;

	if (!options)
		options = &any;
	r = check(server, options);
	if (r < 0)
		return r;
	r = listening_new(server, options, done, ctx, &l);
	if (r < 0)
		return r;
	if (goes_to_provider(server, options)) {
		begin_period(server, l);
		return listen_by_provider(l, options);
	}
	r = given_fd(options, &fd);
	if (r < 0) {
		listening_free(l);
		return r;
	}

	begin_period(server, l);
	if (fd < 0)
		return listen_here(l, options);
	adopt_now(l, fd, options->backlog);
	tell_later(l);
	return 0;
}

int net_server_listen_port(struct net_server *server, int port, const char *host, int backlog,
			   net_server_fn *done, void *ctx)
{
	const struct net_listen_options options = {
		.has_port = true, .port = port, .host = host, .backlog = backlog};

	return net_server_listen(server, &options, done, ctx);
}

int net_server_listen_path(struct net_server *server, const char *path, int backlog,
			   net_server_fn *done, void *ctx)
{
	const struct net_listen_options options = {.path = path, .backlog = backlog};

	return net_server_listen(server, &options, done, ctx);
}

int net_server_listen_fd(struct net_server *server, int fd, int backlog, net_server_fn *done,
			 void *ctx)
{
	const struct net_listen_options options = {.has_fd = true, .fd = fd, .backlog = backlog};

	return net_server_listen(server, &options, done, ctx);
}
