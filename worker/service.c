#include "worker/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/macros.h"
#include "common/net/server.h"
#include "worker/permits.h"
#include "worker/wakeup.h"

static const struct handler *const handlers[HANDLER_KIND_END] = {
	[HANDLER_ECHO] = &echo_handler,
	[HANDLER_DISCARD] = &discard_handler,
	[HANDLER_REPLY] = &reply_handler,
};

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	struct service *service = ctx;

	service->handler->on_connection(socket, &service->text);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	struct service *service = ctx;

	log_warning("listener %s: %s", service->label, error->text);
}

static void on_close(struct net_server *server, void *ctx)
{
	struct service *service = ctx;

	service->on_idle(service, service->ctx);
}

static const struct net_server_ops server_ops = {
	.on_connection = on_connection,
	.on_error = on_error,
	.on_close = on_close,
};

static void set_label(struct service *service, const struct handler_text *name)
{
	if (name->size > 0)
		snprintf(service->label, sizeof(service->label), "\"%.*s\"", (int)name->size,
			 name->data);
	else
		snprintf(service->label, sizeof(service->label), "%u", service->listener);
}

static int copy_text(const struct handler_text *text, struct handler_text *ret)
{
	char *copy = malloc(text->size + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text->data, text->size);
	*ret = (struct handler_text){copy, text->size};
	return 0;
}

static int start(struct service *service, int fd, const struct service_options *options)
{
	int error;

	if (options->permits)
		permits_join(options->permits, service);
	if (fd == -1)
		return server_open_unbound(service->server);
	wakeup_mark(fd);
	error = net_server_listen(
		service->server,
		&(struct net_listen_options){.has_fd = true, .fd = fd, .exclusive = true}, NULL,
		NULL);
	if (error < 0) {
		wakeup_unmark(fd);
		return error;
	}
	service->fd = fd;
	server_share(service->server, options->sharing, service->ctx);
	return 0;
}

static void forget_fd(struct service *service)
{
	if (service->fd != -1)
		wakeup_unmark(service->fd);
	service->fd = -1;
}

int service_new(struct ev_loop *loop, const struct service_options *options, int fd,
		service_idle_fn *on_idle, void *ctx, struct service **ret)
{
	int error;

	if (options->handler >= ARRAY_LEN(handlers))
		return -EINVAL;

	struct service *service = calloc(1, sizeof(*service));
	if (!service)
		return -ENOMEM;
	service->listener = options->listener;
	set_label(service, &options->name);
	service->handle = options->handle;
	service->tally = options->tally;
	service->tell_connections = options->tell_connections;
	service->handler = handlers[options->handler];
	service->on_idle = on_idle;
	service->ctx = ctx;

	service->fd = -1;

	error = copy_text(&options->text, &service->text);
	if (error == 0)
		error = net_create_server(loop, NULL, &server_ops, service, &service->server);
	if (error == 0)
		error = start(service, fd, options);
	if (error < 0) {
		service_free(service);
		return error;
	}
	*ret = service;
	return 0;
}

void service_free(struct service *service)
{
	if (!service)
		return;
	forget_fd(service);
	if (service->server)
		net_server_close_all_connections(service->server);
	permits_leave(service);
	net_server_free(service->server);
	free((char *)service->text.data);
	free(service);
}

void service_nudge(struct service *service)
{
	if (service->fd != -1)
		wakeup_requeue(service->fd);
}

void service_stop(struct service *service, bool empty_queue)
{
	int error;

	if (service->stopped)
		return;
	service->stopped = true;
	if (empty_queue)
		server_empty_queue(service->server);
	forget_fd(service);
	error = net_server_close(service->server, NULL, NULL);
	if (error < 0)
		log_warning("listener %s: %s", service->label, net_error_message(error));
}
