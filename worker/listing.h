/* The connections of a worker by name, some at a time.
 *
 * Owns:   nothing.
 * Source: common/ipc/messages.h says in which order they are told. */
#ifndef USHER_WORKER_LISTING_H
#define USHER_WORKER_LISTING_H

#include <stddef.h>

#include "common/ipc/messages.h"
#include "worker/worker.h"

/* Fills in the answer to a question with at most IPC_LISTED_MAX rows. Returns their number. */
size_t listing_fill(struct service_list *services, const struct ipc_list *question,
		    struct ipc_listed *ret, struct ipc_listed_row rows[IPC_LISTED_MAX]);

#endif
