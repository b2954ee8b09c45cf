/* Connections that came by HANDOFF, until they are taken.
 *
 * A connection that was not taken may be given to another worker, so nothing is done with one
 * before. One that was withdrawn meanwhile is another's, and closed.
 *
 * Owns:   the descriptors until inbox_next() hands them out. The claims are borrowed.
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
	size_t n_taken; /* the first so many of them */
	uint32_t last;  /* number that came */
	uint32_t taken;
	bool refuses; /* some that are not taken yet */
};

/* claims may be opened later, but before the first connection comes. */
void inbox_init(struct inbox *inbox, struct claims *claims);

/* Takes a HANDOFF message over, or refuses all of it for a reason other than 0. */
int inbox_put(struct inbox *inbox, struct ipc_message *message, int reason);

/* Refuses those of a listener that were not taken. */
void inbox_refuse(struct inbox *inbox, uint32_t listener, int reason);

/* Whether there is something to take. */
bool inbox_waits(const struct inbox *inbox);

/* Takes all that came, or with a reason refuses it. Returns whether the supervisor should be told,
 * for some are its own again. */
bool inbox_take(struct inbox *inbox, int reason);

/* Hands out the next connection that was taken: the caller's. Returns whether there was one. */
bool inbox_next(struct inbox *inbox, struct arrival *ret);

/* How many of a listener are there. */
uint32_t inbox_count(struct inbox *inbox, uint32_t listener);

/* Closes all of them. */
void inbox_done(struct inbox *inbox);

#endif
