/* Connections that came by HANDOFF, until the supervisor has been told that they are taken.
 *
 * A connection that was not answered may be given to another worker, so nothing is done with one
 * before the answer has left. One that is found too late is refused, for it may be another's by
 * now.
 *
 * Owns:   the descriptors until inbox_take() hands them out.
 * Errors: 0 or -EPROTO: the supervisor has broken the rules.
 * Source: common/ipc/messages.h says what is promised to whom. */
#ifndef USHER_WORKER_INBOX_H
#define USHER_WORKER_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/net/addr.h"

struct arrival {
	int fd;
	uint32_t listener;
	uint32_t number;
	int64_t valid_until_ms;
	struct addr peer;
};

/* All fields but refused are the module's own. */
struct inbox {
	struct arrival arrivals[IPC_IN_FLIGHT_MAX]; /* a ring */
	size_t first;
	size_t count;
	size_t n_answered; /* the first so many of them */
	struct ipc_refused_row refused[IPC_IN_FLIGHT_MAX];
	size_t n_refused;
	uint32_t last; /* number that came */
	uint32_t answered;
};

/* Takes a HANDOFF message over, or refuses all of it for a reason other than 0. */
int inbox_put(struct inbox *inbox, struct ipc_message *message, int reason, int64_t now_ms);

/* Whether there is something to answer. */
bool inbox_waits(const struct inbox *inbox);

/* Refuses what was found too late, or with a reason everything, and fills in the answer. After it
 * refused and the answer are to be sent; they are not given a second time. */
void inbox_answer(struct inbox *inbox, int reason, int64_t now_ms, struct ipc_progress *ret);

/* Hands out the next connection that was answered: the caller's. One whose answer may have come too
 * late is closed. Returns whether there was one. */
bool inbox_take(struct inbox *inbox, int64_t now_ms, struct arrival *ret);

/* How many of a listener are there. */
uint32_t inbox_count(struct inbox *inbox, uint32_t listener);

/* Closes all of them. */
void inbox_done(struct inbox *inbox);

#endif
