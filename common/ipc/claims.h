/* Which of the connections that were handed to a worker it has taken, in memory that it shares with
 * its supervisor: it tells without a message, so that nobody is woken for it.
 *
 * Every connection has a number. The worker takes all up to a number, or the supervisor withdraws
 * all that it has not taken: both change the same word, so that no connection is ever taken by the
 * one and given away by the other, however long either was stopped in between. The supervisor
 * looks when it is awake anyway, and asks for a message (the bell) only when it waits for room.
 *
 * Each of the two writes what is its own. What a hostile worker writes elsewhere harms itself: the
 * supervisor reads back nothing that it wrote, and checks the rest as it does a message.
 *
 * Owns:   the mapping. Pages are not reused: a process gets a new one.
 * Errors: 0 or -errno.
 * Order:  reasons are written before the number that they belong to is taken.
 * Source: memfd_create(2), fcntl(2) on seals; the seals keep a worker from cutting the page off. */
#ifndef USHER_COMMON_IPC_CLAIMS_H
#define USHER_COMMON_IPC_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

/* Sources of connections of which a worker can tell how many have ended, as they end. */
#define CLAIMS_TALLIES 900

struct claims_page;

struct claims {
	struct claims_page *page; /* NULL: none */
};

/* Those after taken and up to withdrawn are the supervisor's again; withdrawn is never before
 * taken. */
struct claims_state {
	uint32_t taken;
	uint32_t withdrawn;
};

/* Whether a number comes before another, though they wrap around. */
static inline bool claims_is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* A new page, and its descriptor for the worker, which is the caller's. */
int claims_new(struct claims *claims, int *ret_fd);

/* Maps the page that came; fd stays the caller's. -EPROTO: it is none. */
int claims_open(struct claims *claims, int fd);

/* Closing twice is allowed. */
void claims_close(struct claims *claims);

/* --- the supervisor's ------------------------------------------------------------------------- */

/* As the worker has it: to be checked. */
struct claims_state claims_read(const struct claims *claims);

/* Withdraws all up to number that were not taken, if the state is still *state; else *state is what
 * it is now. Returns whether they are withdrawn. */
bool claims_withdraw(struct claims *claims, struct claims_state *state, uint32_t number);

/* Why a number that was taken is refused, an errno; 0: it is not. */
int claims_reason(const struct claims *claims, uint32_t number);

/* Our copies of all up to number are closed. */
void claims_let_go(struct claims *claims, uint32_t number);

/* How many have ended under a tally, from 1 to CLAIMS_TALLIES; it wraps around. */
uint32_t claims_ended(const struct claims *claims, uint32_t tally);

/* Whether the worker is to say PROGRESS when it takes some. What it took before was taken before
 * this returns. */
void claims_want_bell(struct claims *claims, bool wanted);

/* --- the worker's ----------------------------------------------------------------------------- */

/* Of each number, before it is taken; 0: it is not refused. */
void claims_set_reason(struct claims *claims, uint32_t number, int reason);

/* Takes all up to number, but for those up to the one that is returned: they are not ours. */
uint32_t claims_take(struct claims *claims, uint32_t number);

/* One more has ended; 0 is no tally, and more than there are is none either. */
void claims_count_end(struct claims *claims, uint32_t tally);

bool claims_wants_bell(const struct claims *claims);

/* Up to which number the supervisor has let its copies go. */
uint32_t claims_let_go_of(const struct claims *claims);

/* Whether the supervisor may still have a copy of a connection that was taken. */
bool claims_is_held(const struct claims *claims, uint32_t number);

#endif
