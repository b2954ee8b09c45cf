/* The permits of one listener: each is the right to hold one of its connections, and there are as
 * many as max_connections says. Arithmetic only: who is given one, and when, is limit's.
 *
 * A permit is free, travels with a connection that usherd has accepted (in transit), or is held by
 * a worker. A worker tells what it still holds, and that can only become less: what it is given is
 * known here. So whatever it says, it cannot make the others exceed the limit.
 *
 * Owns:   nothing. An account belongs to one ledger, and is empty when it is all zero.
 * Errors: -EPROTO when a worker tells what cannot be. */
#ifndef USHER_DAEMON_LEDGER_H
#define USHER_DAEMON_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

struct ledger {
	uint32_t limit; /* may fall below what is in use: then none is free for a while */
	uint32_t cap;   /* one worker holds no more; 0: no cap */
	uint32_t in_transit;
	uint32_t held; /* by all workers, those in limbo among them */
};

/* What one worker has. */
struct account {
	uint32_t held;
	uint32_t used;    /* of those: as it said last */
	uint32_t granted; /* in all; wraps around */
	uint32_t serial;  /* of the last message to it */
	uint32_t seen;    /* of the last one that it has answered */
	uint32_t ended;   /* in all, as it said last; wraps around */
	uint32_t keep;    /* so many it may keep without a connection */
	uint32_t ghosts;  /* connections that went elsewhere and that it may have as well */
	uint32_t limbo;   /* permits of those ghosts whose other worker is dead */
};

/* What a worker tells: with the last message that it has got. */
struct holding {
	uint32_t serial;
	uint32_t granted;
	uint32_t kept;
	uint32_t used;
};

uint32_t ledger_free(const struct ledger *ledger);
uint32_t ledger_in_use(const struct ledger *ledger);

/* How many more this worker may be given. */
uint32_t ledger_room(const struct ledger *ledger, const struct account *account);

/* For a connection that is to be accepted; false: none is free. */
bool ledger_take(struct ledger *ledger);

/* The connection was closed here, or there was none. */
void ledger_put_back(struct ledger *ledger);

/* The worker has taken the connection over. */
void ledger_arrive(struct ledger *ledger, struct account *account);

/* Gives a worker up to count, and notes that it is told to keep so many. Returns how many it got.
 */
uint32_t ledger_grant(struct ledger *ledger, struct account *account, uint32_t count,
		      uint32_t keep);

/* Whether it has not answered the last message yet. */
bool ledger_waits(const struct account *account);

/* A worker that accepts holds so many, and the rest is free again. */
int ledger_tell(struct ledger *ledger, struct account *account, const struct holding *holding);

/* Of those that were handed to a worker so many have ended, in all. */
int ledger_tell_ended(struct ledger *ledger, struct account *account, uint32_t ended);

/* A ghost is a connection that waits in front of a worker that does not take it, and that went to
 * another one in the end. If that one dies it lives on, so that its permit is not free yet: it
 * passes from the dead one to limbo, until the ghosts are gone: then it is
 * told whether any has become free. */
void ledger_pass(struct ledger *ledger, struct account *from, struct account *to);
bool ledger_free_ghosts(struct ledger *ledger, struct account *account);

/* The process is dead, and with it its descriptors. */
void ledger_bury(struct ledger *ledger, struct account *account);

#endif
