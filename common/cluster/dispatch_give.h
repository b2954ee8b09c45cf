/* From a dispatcher to its takers: what was accepted waits here until a taker has it.
 *
 * Owns:   what is parked; the watchers look and pause are those of the dispatcher. */
#ifndef USHER_COMMON_CLUSTER_DISPATCH_GIVE_H
#define USHER_COMMON_CLUSTER_DISPATCH_GIVE_H

#include "common/cluster/dispatch.h"

void dispatch_complain(struct dispatcher *dispatcher, const struct taker *taker, const char *what,
		       int error);

/* What was short is tried again after DISPATCH_PAUSE_MS. */
void dispatch_pause(struct dispatcher *dispatcher);

/* Whether a taker can be given a connection of the source now. */
bool dispatch_has_able(const struct dispatcher *dispatcher, const struct source *source);

/* Notes a connection for a taker, or parks it. */
void dispatch_give(struct dispatcher *dispatcher, struct transit *transit);

/* Sends what was noted. */
void dispatch_send(struct dispatcher *dispatcher);

/* Gives what is parked, as far as there are takers for it, and sends it. */
void dispatch_give_parked(struct dispatcher *dispatcher);

/* Parks all that came back from a taker. */
void dispatch_park(struct dispatcher *dispatcher, struct taker *taker, struct transit_list *back);

/* Closes what is parked, for nobody will come for it: of one source, or all (NULL). */
void dispatch_drop_parked(struct dispatcher *dispatcher, const struct source *source);

/* Tells how a taker has become different from what it was before it was looked at. */
void dispatch_tell_change(struct dispatcher *dispatcher, struct taker *taker, bool was_late,
			  bool was_full);

/* Takers are to say when they take some. What was taken before is seen as well. */
void dispatch_want_bells(struct dispatcher *dispatcher, bool wanted);

/* Whether a connection was sent of which we have a copy. */
bool dispatch_is_under_way(const struct dispatcher *dispatcher);

/* Parks what takers have let wait for too long. */
void dispatch_expire(struct dispatcher *dispatcher, int64_t now_ms);

#endif
