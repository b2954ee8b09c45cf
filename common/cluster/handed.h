/* The connections that were handed to us, by descriptor: what the supervisor must be able to know
 * when one is closed.
 *
 * While it may still have a copy, closing ours tells the client nothing before it has closed that
 * too. And it counts those that end, if there is a tally for them.
 *
 * Owns:   the table. The claims are borrowed.
 * Errors: 0 or -ENOMEM.
 * Source: close(2); epoll(7), "Questions and answers", on closing. */
#ifndef USHER_COMMON_CLUSTER_HANDED_H
#define USHER_COMMON_CLUSTER_HANDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/claims.h"

struct handed_row;

/* All fields are the module's own. */
struct handed {
	struct claims *claims;
	struct handed_row *rows; /* by descriptor */
	size_t size;
};

void handed_init(struct handed *handed, struct claims *claims);
void handed_done(struct handed *handed);

/* fd was taken under a number; elsewhere: somebody else has a copy that he will not close soon. */
int handed_add(struct handed *handed, int fd, uint32_t number, uint32_t tally, bool elsewhere);

/* Whether there is such a copy. */
bool handed_is_elsewhere(const struct handed *handed, int fd);

/* The number of fd if the supervisor may have a copy, else 0. */
uint32_t handed_copy(const struct handed *handed, int fd);

/* fd is about to be closed: it has ended. */
void handed_remove(struct handed *handed, int fd);

#endif
