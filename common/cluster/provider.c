#include "common/cluster/provider.h"

#include <string.h>

#include "common/cluster/intake.h"
#include "common/cluster/provider_parts.h"
#include "common/macros.h"
#include "common/net/server.h"

/* --- telling the supervisor ------------------------------------------------------------------ */

static void tell(struct provider *p, enum ipc_type type, const void *body)
{
	int error = channel_tell(p->channel, type, body, NULL, 0, NULL);

	if (error < 0)
		p->ops->on_failed(error, p->ctx);
}

static void tell_closed(struct provider *p, uint32_t request, bool answered, size_t connections)
{
	const struct ipc_unlisten body = {
		.request = request,
		.answered = answered,
		.connections = connections > UINT32_MAX ? UINT32_MAX : (uint32_t)connections,
	};

	tell(p, IPC_UNLISTEN, &body);
}

static void tell_serving(struct provider *p, uint32_t request)
{
	const struct ipc_serving body = {.request = request};

	tell(p, IPC_SERVING, &body);
}

/* --- who has what ---------------------------------------------------------------------------- */

static struct provided *waiting(struct provider *p, uint32_t request)
{
	struct provided *one;

	LIST_FOREACH (one, &p->list, link)
		if (one->request == request && one->state == PROVIDED_WAITS)
			return one;
	return NULL;
}

/* Nothing else may keep it running until the server has a socket. */
static void hold_loop(struct provided *one, struct ev_loop *loop)
{
	if (one->server->unreferenced)
		return;
	one->held = loop;
	ev_ref(loop);
}

static void let_loop_go(struct provided *one)
{
	if (one->held)
		ev_unref(one->held);
	one->held = NULL;
}

static void drop(struct provided *one)
{
	let_loop_go(one);
	LIST_REMOVE(one, link);
	free(one);
}

/* The connections that a server had of former sockets have ended, or count with its new one. */
static void end_former(struct provider *p, const struct net_server *server)
{
	struct provided *one, *next;

	for (one = LIST_FIRST(&p->list); one; one = next) {
		next = LIST_NEXT(one, link);
		if (one->server != server || one->state != PROVIDED_HAD)
			continue;
		tell_closed(p, one->request, true, 0);
		drop(one);
	}
}

/* --- asking ---------------------------------------------------------------------------------- */

static int on_listen(void *ctx, struct net_server *server, const struct net_listen_options *options,
		     unsigned int ticket)
{
	struct provider *p = ctx;

	if (p->lost)
		return -EPIPE;
	if (p->disconnects)
		return -ESHUTDOWN;
	struct provided *one = calloc(1, sizeof(*one));
	if (!one)
		return -ENOMEM;
	int error = provider_ask(p, options, p->last_request + 1);
	if (error < 0) {
		free(one);
		return error;
	}

	*one = (struct provided){.server = server, .ticket = ticket, .request = ++p->last_request};
	LIST_INSERT_HEAD(&p->list, one, link);
	hold_loop(one, p->context->loop);
	return 0;
}

/* --- giving back ----------------------------------------------------------------------------- */

static void tell_idle(struct provider *p)
{
	if (provider_is_idle(p))
		p->ops->on_idle(p->ctx);
}

static void on_close(void *ctx, struct net_server *server, unsigned int ticket)
{
	struct provider *p = ctx;
	struct provided *one;
	size_t connections;

	LIST_FOREACH (one, &p->list, link)
		if (one->server == server && one->ticket == ticket && one->state != PROVIDED_HAD)
			break;
	if (!one)
		return;

	/* Those of a former time are counted there. */
	connections = one->state == PROVIDED_HAS ? net_server_connections(server) : 0;
	if (accepts_itself(one))
		provider_end_sharing(p, one);
	tell_closed(p, one->request, one->state == PROVIDED_HAS, connections);
	if (connections > 0) {
		one->state = PROVIDED_HAD;
		return;
	}
	drop(one);
	tell_idle(p);
}

static void on_drained(void *ctx, struct net_server *server)
{
	struct provider *p = ctx;
	bool was_idle = provider_is_idle(p);

	end_former(p, server);
	if (!was_idle)
		tell_idle(p);
}

static const struct listen_provider calls = {
	.listen = on_listen, .close = on_close, .drained = on_drained};

/* --- answers --------------------------------------------------------------------------------- */

static int check_request(const struct provider *p, uint32_t request)
{
	return (int32_t)(p->last_request - request) >= 0 ? 0 : -EPROTO;
}

/* It was given up on its way; only now it is nowhere any more. */
static int tell_unwanted(struct provider *p, uint32_t request)
{
	int error = check_request(p, request);

	if (error == 0)
		tell_closed(p, request, true, 0);
	return error;
}

static void fail(struct provider *p, struct provided *one, int error, const char *which)
{
	struct net_server *server = one->server;
	unsigned int ticket = one->ticket;

	drop(one);
	server_listened(server, ticket, error, -1, NULL, which);
}

/* fd is -1 for one whose connections come accepted. */
static void serve(struct provider *p, struct provided *one, uint32_t listener, int fd,
		  const struct addr *addr)
{
	end_former(p, one->server);
	let_loop_go(one);
	one->state = PROVIDED_HAS;
	one->listener = listener;
	tell_serving(p, one->request);
	if (accepts_itself(one))
		provider_begin_to_share(p, one, fd);
	server_listened(one->server, one->ticket, 0, fd, addr, NULL);
}

int provider_listened(struct provider *p, struct ipc_message *message)
{
	const struct ipc_listened *body = message->body;
	struct provided *one = waiting(p, body->request);
	AUTO_CLOSE int fd = take_fd(&message->fds[0]);
	struct bound bound;
	const char *which;

	if (!one) {
		close_fd(take_fd(&fd));
		return tell_unwanted(p, body->request);
	}

	int error = bind_adopt(fd, (int)body->backlog, &bound, &which);
	if (error == 0) {
		take_fd(&fd);
		serve(p, one, body->listener, bound.fd, &bound.addr);
		return 0;
	}
	close_fd(take_fd(&fd));
	tell_closed(p, body->request, true, 0);
	fail(p, one, error, which);
	return 0;
}

int provider_listened_apart(struct provider *p, const struct ipc_message *message)
{
	const struct ipc_listened_apart *body = message->body;
	struct provided *one = waiting(p, body->request);
	const struct ipc_peer *address = message->tail;
	struct addr addr;

	if (message->tail_count != 1 || address->size > sizeof(addr.un))
		return -EPROTO;
	if (body->tell_connections)
		intake_tell(p->intake);
	if (!one)
		return tell_unwanted(p, body->request);
	addr.len = address->size;
	memcpy(&addr.sa, address->address, address->size);
	one->is_apart = true;
	one->tells = body->tell_connections;
	serve(p, one, body->listener, -1, &addr);
	return 0;
}

int provider_refused(struct provider *p, const struct ipc_message *message)
{
	const struct ipc_not_listened *body = message->body;
	struct provided *one = waiting(p, body->request);
	int error = (int)body->error;

	if (error >= 0)
		return -EPROTO;
	if (!one)
		return check_request(p, body->request);
	fail(p, one, error, body->of_lookup ? "getaddrinfo" : "bind");
	return 0;
}

void provider_lost(struct provider *p)
{
	struct provided *one;

	p->lost = true;
	/* Each is told to its user, who may end others. */
	do {
		LIST_FOREACH (one, &p->list, link)
			if (one->state == PROVIDED_WAITS)
				break;
		if (one)
			fail(p, one, -EPIPE, "listen");
	} while (one);
}

/* --- the end --------------------------------------------------------------------------------- */

static struct provided *first_open(const struct provider *p)
{
	struct provided *one;

	LIST_FOREACH (one, &p->list, link)
		if (one->state != PROVIDED_HAD)
			return one;
	return NULL;
}

void provider_disconnect(struct provider *p, bool empty_queue)
{
	struct provided *one;

	p->disconnects = true;
	p->rests = false;
	while ((one = first_open(p))) {
		struct net_server *server = one->server;

		/* Its user gets connections, and may free it. */
		server_hold(server);
		if (empty_queue && one->state == PROVIDED_HAS)
			server_empty_queue(server);
		net_server_close(server, NULL, NULL);
		server_release(server);
	}
}

size_t provider_end_connections(struct provider *p)
{
	struct provided *one;
	size_t count = 0;

	/* They end on a later turn, so the list stays. */
	LIST_FOREACH (one, &p->list, link) {
		count += net_server_connections(one->server);
		net_server_close_all_connections(one->server);
	}
	return count;
}

bool provider_is_idle(const struct provider *p)
{
	return LIST_EMPTY(&p->list);
}

int provider_init(struct provider *p, struct ev_loop *loop, struct channel *channel,
		  struct intake *intake, const struct provider_ops *ops, void *ctx)
{
	*p = (struct provider){.channel = channel, .intake = intake, .ops = ops, .ctx = ctx};
	LIST_INIT(&p->list);
	SLIST_INIT(&p->turns);

	int error = context_get(loop, &p->context);
	if (error == 0)
		context_set_listen_provider(p->context, &calls, p);
	return error;
}

void provider_done(struct provider *p)
{
	struct provided *one;

	if (!p->context)
		return;
	context_set_listen_provider(p->context, NULL, NULL);
	context_put(p->context);
	p->context = NULL;
	while ((one = LIST_FIRST(&p->list))) {
		if (accepts_itself(one))
			provider_leave_alone(one);
		drop(one);
	}
	provider_end_turns(p);
}
