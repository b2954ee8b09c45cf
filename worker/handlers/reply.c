/* Sends a text and ends; what the client says meanwhile is read and forgotten, so that closing
 * does not reset the connection before the text has arrived. */
#include "worker/handlers/handler.h"

/* A client that has the text has so long to close its end. */
#define LINGER_MS 10000

static void on_timeout(struct net_socket *socket, void *ctx)
{
	net_socket_destroy(socket, 0);
}

static const struct net_socket_ops ops = {.on_timeout = on_timeout};

static void on_connection(struct net_socket *socket, struct handler_text *text)
{
	net_socket_set_ops(socket, &ops, text);
	net_socket_resume(socket);
	net_socket_set_timeout(socket, LINGER_MS, NULL, NULL);
	net_socket_end(socket, text->data, text->size, NULL, NULL);
}

const struct handler reply_handler = {.on_connection = on_connection};
