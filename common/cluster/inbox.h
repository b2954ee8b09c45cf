/* Connections that came by HANDOFF, until they are taken.
 *
 * A connection that was not taken may be given to another worker, so nothing is done with one
 * before. One that was withdrawn meanwhile is another's, and closed. Each is taken by itself, at
 * the moment it is used: what using one does may make it right to refuse the next.
 *
 * Owns:   the descriptors until inbox_take() hands them out. The claims are borrowed.
 * Errors: 0 or -EPROTO: the supervisor has broken the rules.
 * Source: common/ipc/messages.h says what is promised to whom. */
#ifndef USHER_COMMON_CLUSTER_INBOX_H
#define USHER_COMMON_CLUSTER_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/claims.h"
#include "common/ipc/messages.h"
#include "common/net/addr.h"

struct arrival {
	int fd;
	uint32_t listener;
	uint32_t number;
	bool elsewhere; /* somebody has a copy that he will not close soon */
	struct addr peer;
};

/* All fields are the module's own. */
struct inbox {
	struct claims *claims;
	struct arrival arrivals[IPC_IN_FLIGHT_MAX]; /* a ring */
	size_t first;
	size_t count;
	uint32_t last; /* number that came */
	uint32_t taken;
	bool returns; /* some are the supervisor's again, and it was not told */
};

/* claims may be opened later, but before the first connection comes. */
void inbox_init(struct inbox *inbox, struct claims *claims);

/* Takes a HANDOFF message over. What lost its descriptors on the way is refused. */
int inbox_put(struct inbox *inbox, struct ipc_message *message);

/* Whether there is something to take or to refuse. */
bool inbox_waits(const struct inbox *inbox);

/* The next connection, which was not taken; NULL: there is none. */
const struct arrival *inbox_next(const struct inbox *inbox);

/* Refuses it. */
void inbox_refuse(struct inbox *inbox, int reason);

/* Takes it: *ret is the caller's. Returns false for one that was withdrawn. */
bool inbox_take(struct inbox *inbox, struct arrival *ret);

/* When there is no next one: the supervisor may see the last that were refused. Returns whether it
 * should be told, for some are its own again. */
bool inbox_finish(struct inbox *inbox);

/* Closes all of them. */
void inbox_done(struct inbox *inbox);

#endif
