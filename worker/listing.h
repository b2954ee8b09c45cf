/* The connections of a worker by name, some at a time.
 *
 * Owns:   a listing owns its rows, from listing_begin() to listing_end(). Nothing that it was given
 *         may change meanwhile.
 * Source: common/ipc/messages.h says in which order they are told. */
#ifndef USHER_WORKER_LISTING_H
#define USHER_WORKER_LISTING_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"

struct listing_row;
struct net_server;

/* All fields are the module's own. */
struct listing {
	const struct ipc_list *question;
	struct listing_row *rows;
	size_t n_rows;
	int error;
};

void listing_begin(struct listing *listing, const struct ipc_list *question);

/* The connections of server are the listener's. */
void listing_add(struct listing *listing, uint32_t listener, const struct net_server *server);

/* Fills in the answer with at most IPC_LISTED_MAX rows, *ret_count of them. 0 or -ENOMEM. */
int listing_end(struct listing *listing, struct ipc_listed *ret,
		struct ipc_listed_row rows[IPC_LISTED_MAX], size_t *ret_count);

#endif
