/* What a worker does with the connections of a listener.
 *
 * Owns:   a handler owns the socket from on_connection on; text and its size are borrowed and
 *         outlive every connection of the listener.
 * Source: one file for each kind of common/handlers.h. */
#ifndef USHER_WORKER_HANDLER_H
#define USHER_WORKER_HANDLER_H

#include <stddef.h>

#include "common/handlers.h"
#include "common/net/net.h"

/* The handler's argument in the configuration; size 0 when it takes none. */
struct handler_text {
	const char *data;
	size_t size;
};

struct handler {
	/* ctx of the socket's ops is text. */
	void (*on_connection)(struct net_socket *socket, struct handler_text *text);
};

extern const struct handler echo_handler, discard_handler, reply_handler;

#endif
