/* The numbers of a worker's connections, by listener.
 *
 * Owns:   nothing. A service notes what was told of it. */
#ifndef USHER_WORKER_COUNTING_H
#define USHER_WORKER_COUNTING_H

#include <stddef.h>

#include "common/ipc/messages.h"
#include "worker/worker.h"

/* Fills in a row for each service whose number the supervisor wants to know, and does not. Returns
 * how many. */
size_t counting_news(struct service_list *services, struct ipc_counted_row *rows, size_t room);

/* Fills in a row for each listener from that of *next on, of which the list holds the services
 * together. Returns how many; *next is where to go on, NULL at the end. */
size_t counting_fill(struct service **next, struct ipc_counted_row *rows, size_t room);

#endif
