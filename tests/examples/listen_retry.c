/* A server that tries again every second while its port is in use: listen_retry PORT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <usher/net.h>

#define HOST "127.0.0.1"

struct service {
	struct net_server *server;
	struct ev_loop *loop;
	ev_timer retry;
	int port;
};

static void start(struct service *service)
{
	int r = net_server_listen_port(service->server, service->port, HOST, 0, NULL, NULL);

	if (r < 0)
		fprintf(stderr, "%s\n", net_error_message(r));
}

/* No close before it: a listen that failed has nothing open, and no on_close is due. */
static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	start(timer->data);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	struct service *service = ctx;

	fprintf(stderr, "%s\n", error->text);
	if (error->code != -EADDRINUSE)
		return;

	puts("Address in use, retrying...");
	ev_timer_set(&service->retry, 1., 0.);
	ev_timer_start(service->loop, &service->retry);
}

static void on_listening(struct net_server *server, void *ctx)
{
	puts("server bound");
}

static void on_close(struct net_server *server, void *ctx)
{
	puts("server closed");
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	int r = net_socket_end(socket, "at last\n", 8, NULL, NULL);

	if (r < 0)
		net_socket_destroy(socket, r);
	net_socket_resume(socket);
}

static const struct net_server_ops ops = {.on_listening = on_listening,
					  .on_connection = on_connection,
					  .on_error = on_error,
					  .on_close = on_close};

int main(int argc, char *argv[])
{
	struct service service = {.loop = ev_default_loop(0),
				  .port = argc > 1 ? atoi(argv[1]) : 8124};
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ev_timer_init(&service.retry, on_retry, 1., 0.);
	service.retry.data = &service;
	r = net_create_server(service.loop, NULL, &ops, &service, &service.server);
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		return EXIT_FAILURE;
	}

	start(&service);
	ev_run(service.loop, 0);
	net_server_free(service.server);
	return EXIT_SUCCESS;
}
