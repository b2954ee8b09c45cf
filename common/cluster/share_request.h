/* What a worker's server asks to listen on, as it came in a LISTEN message: checked, and
 * comparable.
 *
 * Owns:   a struct share_request owns its text until share_request_done().
 * Errors: 0, -ENOMEM, or -EPROTO for what no worker of ours sends. *ret is set on success only.
 * Source: net.Server.listen() and "How it works" of cluster in the Node.js documents. */
#ifndef USHER_COMMON_CLUSTER_SHARE_REQUEST_H
#define USHER_COMMON_CLUSTER_SHARE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"

/* "[" host "]:" port, or a path, and the end of the text. */
#define SHARE_TEXT_SIZE 4096

/* A host has no more bytes: NI_MAXHOST. */
#define SHARE_HOST_MAX 1024

struct share_request {
	uint32_t number; /* counts the requests of one worker */
	enum ipc_listen_kind kind;
	char *text; /* the host as asked, NULL for any; or the path; of a descriptor NULL */
	uint16_t port;
	int fd;
	uint32_t turn;
	int backlog; /* 0: the default */
	bool ipv6_only;
	bool readable_all;
	bool writable_all;
};

int share_request_read(const struct ipc_message *message, struct share_request *ret);

/* Takes one that is done. */
void share_request_done(struct share_request *request);

/* Whether two texts of requests are the same, NULL included. */
bool share_request_same_text(const char *a, const char *b);

/* Whether two requests are for one socket: the same address as asked, and for port 0 the same turn
 * of their workers. */
bool share_request_equal(const struct share_request *a, const struct share_request *b);

/* The name of an option in which they differ, NULL if they agree in all. */
const char *share_request_difference(const struct share_request *a, const struct share_request *b);

/* "127.0.0.1:80", "[::]:0" also for any host, "/run/x.sock", "@name", "descriptor 3". What is no
 * printable character, coming from a worker, becomes a question mark. */
void share_request_format(const struct share_request *request, char *text, size_t size);

#endif
