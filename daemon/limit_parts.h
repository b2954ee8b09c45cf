/* What the parts of a limit share.
 *
 *   limit           life, what workers tell, turning away
 *   limit_permits   where workers accept: who gets permits, and when
 *   limit_meter     where we accept: the limit as a source sees it */
#ifndef USHER_DAEMON_LIMIT_PARTS_H
#define USHER_DAEMON_LIMIT_PARTS_H

#include "common/cluster/source.h"
#include "daemon/limit.h"
#include "daemon/listener.h"

/* So long a worker may take to answer. After that what it has free is as good as used. */
#define LIMIT_PATIENCE_MS 250

/* What one worker has. */
struct limit_row {
	struct child *child;
	struct account account;
	int64_t asked_ms; /* the last message; by clock_ms() */
	bool late;        /* it has not answered it in time */
};

bool limit_hands_off(const struct limit *limit);
struct limit_row *limit_row_of(const struct limit *limit, const struct child *child);

/* Watches what is to be watched, and nothing else. */
void limit_watch(struct limit *limit);

/* --- limit_permits ---------------------------------------------------------------------------- */

/* Gives and recalls permits. */
void permits_update(struct limit *limit);

/* All that is free, in equal parts. */
void permits_spread(struct limit *limit);

/* In scarcity: who is to accept on a socket, NULL: nobody may, or not yet; and a part for him. */
struct limit_row *permits_choose(const struct limit *limit, size_t handle);
void permits_give(struct limit *limit, struct limit_row *row);

/* Whether an answer is to come soon: until then nothing is known for sure. */
bool permits_are_awaited(const struct limit *limit);

/* Whether all that accept on a socket have as many as they may, and said so. */
bool permits_are_capped(const struct limit *limit, size_t handle);

/* --- limit_meter ------------------------------------------------------------------------------ */

extern const struct source_meter limit_meter;

/* Whether all that can take connections have as many as they may. */
bool meter_is_capped(const struct limit *limit);

#endif
