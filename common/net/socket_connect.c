/* From a name or path to a connection: arguments, lookup, attempts, and the news of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/attempts.h"
#include "common/net/block_list.h"
#include "common/net/host.h"
#include "common/net/socket.h"

/* A shorter delay between attempts would be a burst. */
#define DELAY_MIN_MS 10

/* One connect, until its outcome is told. */
struct connecting {
	struct defer call;
	struct net_socket *s; /* holds a reference */
	struct request *request;
	struct addr addr; /* of the literal or path */
	char *host;       /* a name to look up, or NULL */
	const struct net_block_list *block_list;
	struct addr local; /* len 0: any */
	uint16_t local_port;
	bool first_only; /* of the addresses */
	unsigned delay_ms;

	/* What is under way. */
	struct net_lookup *question;
	struct attempts *attempts;
	int fd; /* of a Unix socket */
	int status;

	/* How it failed. */
	struct attempts_failure *failures;
	size_t failure_count;
};

/* --- the end of it --------------------------------------------------------------------------- */

static void connecting_free(struct connecting *c)
{
	c->s->extra->connecting = NULL;
	net_socket_release(c->s);
	free(c->failures);
	free(c->host);
	free(c);
}

void connect_cancel(struct net_socket *s)
{
	struct connecting *c = s->extra ? s->extra->connecting : NULL;

	if (!c)
		return;

	host_cancel(c->question);
	c->question = NULL;
	attempts_cancel(c->attempts);
	c->attempts = NULL;
	close_fd(take_fd(&c->fd));
}

/* Answers the completion, before on_error. The deferred close comes after any deferred step. */
void connect_abandon(struct net_socket *s)
{
	struct connecting *c = s->extra ? s->extra->connecting : NULL;
	struct request *request;

	if (!c)
		return;
	request = c->request;
	c->request = NULL;
	request_answer(request, s->error != 0 ? s->error : -ECANCELED);
}

void connect_forget(struct net_socket *s)
{
	if (s->extra && s->extra->connecting)
		connecting_free(s->extra->connecting);
}

/* --- errors ---------------------------------------------------------------------------------- */

static void describe(const struct connecting *c, const struct attempts_failure *failure,
		     char text[ERROR_TEXT_SIZE], struct net_error *ret)
{
	const struct error_source source = {.code = failure->error,
					    .syscall = failure->syscall,
					    .addr = &failure->addr,
					    .local = c->local.len > 0 ? &c->local : NULL};

	error_fill(&source, text, ret);
	ret->host = c->host;
}

/* One error that lists each attempt. */
static void tell_all(const struct connecting *c, struct net_error *all)
{
	struct net_error errors[ATTEMPTS_MAX];
	char texts[ATTEMPTS_MAX][ERROR_TEXT_SIZE];

	for (size_t i = 0; i < c->failure_count; i++)
		describe(c, &c->failures[i], texts[i], &errors[i]);
	all->host = c->host;
	all->errors = errors;
	all->error_count = c->failure_count;
	c->s->ops->on_error(c->s, all, c->s->ctx);
}

bool connect_tell_error(struct net_socket *s)
{
	struct connecting *c = s->extra ? s->extra->connecting : NULL;
	char text[ERROR_TEXT_SIZE];
	struct net_error error;

	if (!c || (s->failed_call != CALL_CONNECT && s->failed_call != CALL_LOOKUP))
		return false;

	if (c->failure_count == 1) {
		describe(c, c->failures, text, &error);
		s->ops->on_error(s, &error, s->ctx);
		return true;
	}

	const struct error_source source = {.code = s->error,
					    .syscall = s->failed_call == CALL_LOOKUP ? "getaddrinfo"
										     : NULL,
					    .host = c->host};

	error_fill(&source, text, &error);
	tell_all(c, &error);
	return true;
}

static void fail(struct connecting *c, int status, enum socket_call call)
{
	socket_fail(c->s, status, call);
}

/* --- connected ------------------------------------------------------------------------------- */

static void tell_success(struct net_socket *s, struct request *request)
{
	if (!s->destroyed)
		request_answer(request, 0);
	else
		request_answer(request, -ECANCELED);
	if (!s->destroyed && s->ops->on_connect)
		s->ops->on_connect(s, s->ctx);
	if (!s->destroyed && s->ops->on_ready)
		s->ops->on_ready(s, s->ctx);
	write_connected(s);
	socket_update(s);
}

static void succeed(struct connecting *c, int fd, const struct addr *peer)
{
	struct net_socket *s = c->s;
	struct request *request = c->request;

	net_socket_hold(s);
	socket_attach(s, fd, peer);
	connecting_free(c);
	timeout_touch(s);
	info_apply_options(s);

	if (s->reset_on_connect)
		net_socket_reset_and_destroy(s);
	tell_success(s, request);
	net_socket_release(s);
}

/* Notes how it failed, for on_error. Without memory for that the error stands alone. */
static void fail_attempts(struct connecting *c, int status, const struct attempts_failure *failures,
			  size_t count)
{
	c->failures = calloc(count, sizeof(*c->failures));
	if (c->failures) {
		memcpy(c->failures, failures, count * sizeof(*failures));
		c->failure_count = count;
	}
	fail(c, status, CALL_CONNECT);
}

static void on_attempts_done(const struct attempts_result *result, void *ctx)
{
	struct connecting *c = ctx;

	c->attempts = NULL;
	if (result->status == 0)
		succeed(c, result->fd, result->winner);
	else
		fail_attempts(c, result->status, result->failures, result->failure_count);
}

/* --- addresses ------------------------------------------------------------------------------- */

static size_t drop_blocked(const struct connecting *c, struct addr *addresses, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!block_list_check_addr(c->block_list, &addresses[i]))
			addresses[kept++] = addresses[i];
	return kept;
}

/* Nothing was tried, but the error says what would have been. */
static void fail_blocked(struct connecting *c, const struct addr *addr)
{
	const struct attempts_failure failure = {
		.error = NET_ERR_IP_BLOCKED, .syscall = "connect", .addr = *addr};

	fail_attempts(c, failure.error, &failure, 1);
}

static void on_attempt(const struct addr *addr, void *ctx)
{
	struct connecting *c = ctx;
	struct net_socket *s = c->s;
	struct net_address address;

	addr_to_net(addr, &address);
	if (s->ops->on_connection_attempt)
		s->ops->on_connection_attempt(s, &address, s->ctx);
}

static void on_attempt_failed(const struct attempts_failure *failure, void *ctx)
{
	struct connecting *c = ctx;
	struct net_socket *s = c->s;
	struct net_address address;

	addr_to_net(&failure->addr, &address);
	if (s->ops->on_connection_attempt_failed)
		s->ops->on_connection_attempt_failed(s, &address, failure->error, s->ctx);
}

static void attempt(struct connecting *c, struct addr *addresses, size_t count)
{
	static const struct attempts_ops ops = {.on_attempt = on_attempt,
						.on_attempt_failed = on_attempt_failed,
						.on_done = on_attempts_done};
	struct attempts_request request = {.addresses = addresses,
					   .local = c->local.len > 0 ? &c->local : NULL,
					   .local_port = c->local_port,
					   .delay_ms = c->delay_ms};
	int r;

	/* Who asks for one family or one way out gets the resolver's first choice. */
	if (c->first_only)
		count = 1;
	request.count = drop_blocked(c, addresses, count);
	if (request.count == 0) {
		fail_blocked(c, addresses);
		return;
	}
	r = attempts_start(c->s->context->loop, &request, &ops, c, &c->attempts);
	if (r < 0)
		fail(c, r, CALL_CONNECT);
}

static void on_literal_turn(struct defer *call)
{
	struct connecting *c = CONTAINER_OF(call, struct connecting, call);

	if (!c->s->destroyed)
		attempt(c, &c->addr, 1);
}

/* Tells each address, before any is tried. Any of the calls may destroy the socket. */
static void tell_lookup(struct connecting *c, int status, const struct addr *addresses,
			size_t count)
{
	struct net_socket *s = c->s;

	if (status < 0 && s->ops->on_lookup)
		s->ops->on_lookup(s, status, NULL, c->host, s->ctx);
	for (size_t i = 0; i < count && !s->destroyed && s->ops->on_lookup; i++) {
		struct net_address address;

		addr_to_net(&addresses[i], &address);
		s->ops->on_lookup(s, 0, &address, c->host, s->ctx);
	}
}

static void on_looked_up(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct connecting *c = ctx;
	struct addr copies[ATTEMPTS_MAX];

	c->question = NULL;
	if (count > ARRAY_LEN(copies))
		count = ARRAY_LEN(copies);
	if (count > 0)
		memcpy(copies, addresses, count * sizeof(*copies));
	timeout_touch(c->s);

	tell_lookup(c, status, copies, count);
	if (c->s->destroyed)
		return;
	if (status < 0)
		fail(c, status, CALL_LOOKUP);
	else
		attempt(c, copies, count);
}

/* --- Unix ------------------------------------------------------------------------------------ */

/* Unlike TCP, this connect(2) is done at once or not at all. */
static int connect_unix(const struct addr *addr, int *ret)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1 || connect(fd, &addr->sa, addr->len) == -1)
		return -errno;
	*ret = take_fd(&fd);
	return 0;
}

static void on_unix_turn(struct defer *call)
{
	struct connecting *c = CONTAINER_OF(call, struct connecting, call);
	struct attempts_failure failure = {
		.error = c->status, .syscall = "connect", .addr = c->addr};

	if (c->s->destroyed)
		return;
	if (c->status == 0)
		succeed(c, take_fd(&c->fd), &c->addr);
	else
		fail_attempts(c, c->status, &failure, 1);
}

/* --- arguments ------------------------------------------------------------------------------- */

static bool has_path(const struct net_connect_options *options)
{
	return options->path && options->path[0] != '\0';
}

static int check_local(const struct net_connect_options *options, struct connecting *c)
{
	if (options->local_port < 0 || options->local_port > UINT16_MAX)
		return NET_ERR_SOCKET_BAD_PORT;

	c->local_port = (uint16_t)options->local_port;
	if (options->local_address && addr_parse(options->local_address, 0, &c->local) < 0)
		return NET_ERR_INVALID_IP_ADDRESS;
	return 0;
}

static int check_tcp(const struct net_connect_options *options, struct connecting *c)
{
	if (!options->has_port && options->port == 0)
		return NET_ERR_MISSING_ARGS;
	if (options->port < 0 || options->port > UINT16_MAX)
		return NET_ERR_SOCKET_BAD_PORT;
	if (options->family != 0 && options->family != 4 && options->family != 6)
		return NET_ERR_INVALID_ADDRESS_FAMILY;
	if (options->attempt_delay_ms > 0 && options->attempt_delay_ms < DELAY_MIN_MS)
		return NET_ERR_OUT_OF_RANGE;
	return check_local(options, c);
}

static int check_state(const struct net_socket *s)
{
	if (s->connecting)
		return -EALREADY;
	/* One that was sent away is closed inside the call, but has calls that are still to run. */
	if (s->destroyed && (!s->closed || defer_waits(&s->close_call)))
		return NET_ERR_STREAM_DESTROYED;
	if (s->io.fd >= 0)
		return s->connected ? -EISCONN : -EINVAL;
	return 0;
}

static int note_target(struct connecting *c, const struct net_connect_options *options)
{
	const char *host = options->host ? options->host : "localhost";

	if (has_path(options))
		return addr_unix(options->path, &c->addr);
	if (addr_parse(host, (uint16_t)options->port, &c->addr) == 0)
		return 0;

	c->host = strdup(host);
	return c->host ? 0 : -ENOMEM;
}

static int connecting_new(struct net_socket *s, const struct net_connect_options *options,
			  struct connecting **ret)
{
	struct connecting *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;

	c->s = s;
	c->fd = -1;
	r = has_path(options) ? 0 : check_tcp(options, c);
	if (r == 0)
		r = note_target(c, options);
	if (r < 0) {
		free(c->host);
		free(c);
		return r;
	}

	c->first_only = options->family != 0 || options->local_address || options->local_port > 0;
	c->block_list = options->block_list;
	c->delay_ms = options->attempt_delay_ms;
	*ret = c;
	return 0;
}

/* --- connect --------------------------------------------------------------------------------- */

static int ask(struct connecting *c, const struct net_connect_options *options)
{
	const struct host_request request = {.host = c->host,
					     .port = (uint16_t)options->port,
					     .family = options->family,
					     .hints = options->hints,
					     .lookup = options->lookup,
					     .lookup_ctx = options->lookup_ctx};

	return host_ask(c->s->context, &request, on_looked_up, c, &c->question);
}

/* Takes the first step; what it brings comes on a later turn. */
static int begin(struct connecting *c, const struct net_connect_options *options)
{
	struct defer_queue *calls = &c->s->context->calls;

	if (c->addr.len == 0)
		return ask(c, options);

	if (addr_family(&c->addr) != 0) {
		defer_call(calls, &c->call, on_literal_turn);
	} else {
		c->status = connect_unix(&c->addr, &c->fd);
		defer_call(calls, &c->call, on_unix_turn);
	}
	return 0;
}

static int prepare_extra(struct net_socket *s, const struct net_connect_options *options)
{
	struct socket_extra *extra;
	char *path = NULL;
	int r = socket_get_extra(s, &extra);

	if (r < 0)
		return r;
	if (has_path(options)) {
		path = strdup(options->path);
		if (!path)
			return -ENOMEM;
	}

	free(extra->path);
	extra->path = path;
	return 0;
}

int net_socket_connect(struct net_socket *s, const struct net_connect_options *options,
		       net_socket_fn *connected, void *ctx)
{
	struct connecting *c;
	int r;

	r = check_state(s);
	if (r < 0)
		return r;
	r = prepare_extra(s, options);
	if (r < 0)
		return r;
	r = connecting_new(s, options, &c);
	if (r < 0)
		return r;

	net_socket_hold(s);
	s->extra->connecting = c;
	r = request_new(s, connected, ctx, &c->request);
	if (r == 0)
		r = begin(c, options);
	if (r < 0) {
		request_free(c->request);
		connecting_free(c);
		return r;
	}

	if (s->closed)
		socket_reopen(s);
	s->connecting = true;
	timeout_touch(s);
	/* It cannot fail: there is memory for it already. */
	if (options->timeout_ms > 0)
		net_socket_set_timeout(s, options->timeout_ms, NULL, NULL);
	return 0;
}

int net_socket_connect_port(struct net_socket *s, int port, const char *host,
			    net_socket_fn *connected, void *ctx)
{
	const struct net_connect_options options = {.has_port = true, .port = port, .host = host};

	return net_socket_connect(s, &options, connected, ctx);
}

int net_socket_connect_path(struct net_socket *s, const char *path, net_socket_fn *connected,
			    void *ctx)
{
	const struct net_connect_options options = {.path = path};

	return net_socket_connect(s, &options, connected, ctx);
}

/* A socket that could not begin to connect has no life to end: nobody is told. */
static void discard(struct net_socket *s)
{
	net_socket_set_ops(s, NULL, NULL);
	net_socket_destroy(s, 0);
}

int net_create_connection(struct ev_loop *loop, const struct net_connect_options *options,
			  const struct net_socket_options *socket_options,
			  const struct net_socket_ops *ops, void *ctx, struct net_socket **ret)
{
	struct net_socket *s;
	int r;

	r = net_socket_new(loop, socket_options, ops, ctx, &s);
	if (r < 0)
		return r;

	r = net_socket_connect(s, options, NULL, NULL);
	if (r < 0) {
		discard(s);
		return r;
	}

	*ret = s;
	return 0;
}

int net_connect(struct ev_loop *loop, const struct net_connect_options *options,
		const struct net_socket_options *socket_options, const struct net_socket_ops *ops,
		void *ctx, struct net_socket **ret)
{
	return net_create_connection(loop, options, socket_options, ops, ctx, ret);
}
