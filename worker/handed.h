/* Of which of our connections the supervisor may still have a copy: closing one tells its client
 * nothing before the supervisor has closed it too.
 *
 * Owns:   the table. The claims are borrowed.
 * Errors: without memory for a connection's number it counts as ours alone: then its client learns
 *         of the end a moment later.
 * Source: close(2); epoll(7), "Questions and answers", on closing. */
#ifndef USHER_WORKER_COPIES_H
#define USHER_WORKER_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/claims.h"

/* All fields are the module's own. */
struct copies {
	const struct claims *claims;
	uint32_t *numbers; /* by descriptor; 0: none, or one that is not worth asking for */
	size_t size;
};

void copies_init(struct copies *copies, const struct claims *claims);
void copies_done(struct copies *copies);

/* fd was taken under a number. */
void copies_add(struct copies *copies, int fd, uint32_t number);

/* The number of fd if the supervisor may have a copy, else 0. */
uint32_t copies_number(const struct copies *copies, int fd);

/* fd is about to be closed. */
void copies_remove(struct copies *copies, int fd);

#endif
