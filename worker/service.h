/* One socket of a listener, or one whose connections come accepted, as a worker serves it: a server
 * and the handler that gets its connections.
 *
 * Owns:   the server, its connections and the handler's text.
 * Order:  on_idle comes once, after service_stop(), when the last connection has ended. */
#ifndef USHER_WORKER_SERVICE_H
#define USHER_WORKER_SERVICE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc/messages.h"
#include "worker/handlers/handler.h"

/* A name in quotes. */
#define SERVICE_LABEL_SIZE (IPC_LISTENER_NAME_MAX + sizeof("\"\""))

struct server_sharing;
struct service;
typedef void service_idle_fn(struct service *service, void *ctx);

struct service {
	LIST_ENTRY(service) link; /* the owner's */
	LIST_ENTRY(service) of_permits;
	struct permits *permits; /* NULL: the listener is not metered */
	uint32_t listener;       /* the supervisor's number for it */
	uint32_t handle;         /* and for the socket among the listener's */
	int fd;                  /* the server's; -1 once it is closed */
	bool stopped;
	uint32_t tally;        /* for its connections that have ended; 0: none */
	bool tell_connections; /* the supervisor wants to know when their number changes */
	uint32_t told;         /* the number that it knows */
	struct net_server *server;
	const struct handler *handler;
	struct handler_text text;
	char label[SERVICE_LABEL_SIZE]; /* for the log: the listener's name; its number without */
	service_idle_fn *on_idle;
	void *ctx;
};

/* What a service is made of; the texts need no NUL at the end. */
struct service_options {
	uint32_t listener;
	uint32_t handle;
	uint32_t tally;
	const struct server_sharing *sharing; /* of fd; with ctx. NULL: nobody has to know */
	bool tell_connections;
	struct permits *permits; /* borrowed; NULL: accept without */
	uint32_t handler;        /* enum handler_kind, unchecked */
	struct handler_text text;
	struct handler_text name; /* at most IPC_LISTENER_NAME_MAX bytes; none is fine */
};

/* Serves on fd, a listening socket, which becomes the service's on success; with -1 connections
 * come by server_adopt(). -EINVAL: there is no such handler. */
int service_new(struct ev_loop *loop, const struct service_options *options, int fd,
		service_idle_fn *on_idle, void *ctx, struct service **ret);

/* NULL is fine. Ends what connections there are. */
void service_free(struct service *service);

/* Looks whether somebody waits, though nobody woke us for him. */
void service_nudge(struct service *service);

/* Takes no further connections; with empty_queue those that wait already are the last ones. */
void service_stop(struct service *service, bool empty_queue);

#endif
