#include "worker/serving.h"

#include <errno.h>
#include <stdio.h>

#include "common/net/server.h"
#include "worker/service.h"

static void on_idle(struct service *service, void *ctx)
{
	LIST_REMOVE(service, link);
	service_free(service);
	worker_end_if_idle(ctx);
}

/* Not one that only waits for its last connections: its socket may come again. */
static struct service *find(struct worker *w, uint32_t listener, uint32_t handle)
{
	struct service *service;

	LIST_FOREACH (service, &w->services, link)
		if (service->listener == listener && service->handle == handle && !service->stopped)
			return service;
	return NULL;
}

/* Those of one listener stand together, so that they are counted together. */
static void insert(struct worker *w, struct service *service)
{
	struct service *other;

	LIST_FOREACH (other, &w->services, link)
		if (other->listener == service->listener) {
			LIST_INSERT_AFTER(other, service, link);
			return;
		}
	LIST_INSERT_HEAD(&w->services, service, link);
}

static int add_permits(struct worker *w, struct service_options *options, bool accepts)
{
	options->permits = permits_get(&w->permits, options->listener, accepts);
	return options->permits ? 0 : -ENOMEM;
}

/* fd is -1 for a listener whose connections come accepted. The message's tail is the name, and what
 * the handler says. */
static int add(struct worker *w, struct service_options *options, bool metered,
	       const struct ipc_message *message, size_t name_size, int fd)
{
	const char *text = message->tail;
	struct service *service;

	if (name_size > message->tail_count || name_size > IPC_LISTENER_NAME_MAX ||
	    find(w, options->listener, options->handle))
		return -EPROTO;
	if (metered && add_permits(w, options, fd != -1) < 0)
		return -ENOMEM;
	options->name = (struct handler_text){text, name_size};
	options->text = (struct handler_text){text + name_size, message->tail_count - name_size};

	int error = service_new(w->loop, options, fd, on_idle, w, &service);
	if (error < 0)
		return error;
	insert(w, service);
	if (options->tell_connections)
		intake_tell(&w->intake);
	if (w->draining)
		service_stop(service, false);
	return 0;
}

int serving_serve(struct worker *w, struct ipc_message *message)
{
	const struct ipc_serve *body = message->body;
	struct service_options options = {
		.listener = body->listener,
		.handle = body->handle,
		.sharing = body->shared ? &worker_sharing : &worker_alone,
		.handler = body->handler,
	};
	int error = add(w, &options, body->metered, message, body->name_size, message->fds[0]);

	if (error == 0)
		message->fds[0] = -1;
	return error;
}

int serving_adopt(struct worker *w, const struct ipc_message *message)
{
	const struct ipc_adopt *body = message->body;
	struct service_options options = {
		.listener = body->listener,
		.tally = body->tally,
		.tell_connections = body->tell_connections,
		.handler = body->handler,
	};

	return add(w, &options, body->metered, message, body->name_size, -1);
}

void serving_release(struct worker *w, const struct ipc_release *message)
{
	struct service *service = find(w, message->listener, message->handle);

	if (service)
		service_stop(service, false);
}

void serving_nudge(struct worker *w, const struct ipc_nudge *message)
{
	struct service *service = find(w, message->listener, 0);

	if (service)
		service_nudge(service);
}

int serving_permit(struct worker *w, const struct ipc_permit *message)
{
	struct permits *permits = permits_get(&w->permits, message->listener, true);

	if (!permits)
		return -ENOMEM;
	permits_take(permits, message);
	return 0;
}

struct net_server *serving_server(struct worker *w, uint32_t listener, uint32_t *ret_tally)
{
	const struct service *service = find(w, listener, 0);

	if (!service || service->fd != -1)
		return NULL;
	*ret_tally = service->tally;
	return service->server;
}

void serving_label(const struct worker *w, uint32_t listener, char ret[SERVING_LABEL_SIZE])
{
	const struct net_server *made = provider_server(&w->provider, listener);
	const struct service *service;

	if (made) {
		addr_format(&made->bound.addr, ret, SERVING_LABEL_SIZE);
		return;
	}
	snprintf(ret, SERVING_LABEL_SIZE, "%u", listener);
	LIST_FOREACH (service, &w->services, link)
		if (service->listener == listener)
			snprintf(ret, SERVING_LABEL_SIZE, "%s", service->label);
}
