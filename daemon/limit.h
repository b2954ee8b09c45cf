/* Keeps the connections of one listener within max_connections, over all workers.
 *
 * Where usherd accepts, each connection takes a permit before it is accepted; see
 * common/cluster/source.h. Where workers accept, they get permits ahead:
 *
 *   plenty   each has some that are free, and accepts as it likes
 *   scarcity one of them has run out, and there is none left for it: all give back what they do not
 *            use. We watch the sockets ourselves, and give a permit to a worker when somebody waits
 *            for it. So none lies idle with one worker while clients queue for another.
 *
 * With no permit left, clients wait in the kernel's queue, or we accept them and turn them away.
 * Neither keeps anybody busy. A worker's permits are free again when its process is dead, and with
 * it its descriptors; one that is stopped keeps what it has.
 *
 * Owns:   permits, watchers and timers. Listener and workers are borrowed.
 * Errors: 0 or -errno; -EPROTO when a worker says what cannot be. One that takes no message is
 *         killed, and logged.
 * Order:  watchers are stopped by limit_stop(), before the listener is closed. */
#ifndef USHER_DAEMON_LIMIT_H
#define USHER_DAEMON_LIMIT_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/throttle.h"
#include "daemon/child.h"
#include "daemon/ledger.h"

struct limit_row;
struct limit_watcher;
struct listener;

/* in_use and turned_away are for reading, the ledger's limit too; the rest is the module's own. */
struct limit {
	struct ev_loop *loop;
	struct listener *listener;
	struct ledger ledger;
	uint64_t turned_away;

	struct limit_row *rows; /* a worker each */
	size_t n_rows;
	struct limit_watcher **watches; /* a socket each */
	size_t n_watches;
	bool scarce;
	bool stopped;
	bool refused;                /* until the pause is over nothing can be watched */
	ev_timer patience;           /* with workers that have not answered */
	ev_timer pause;              /* without descriptors nobody is turned away */
	uint64_t untold;             /* were turned away since that was logged */
	struct throttle telling;     /* that connections are turned away */
	struct throttle complaining; /* that they cannot be */
};

/* Limits a listener that is open, for so many workers. */
int limit_new(struct ev_loop *loop, struct listener *listener, unsigned int workers,
	      struct limit **ret);

/* NULL is fine. */
void limit_free(struct limit *limit);

/* The number of workers that there are to be, and with it that of sockets, may have changed. */
int limit_scale(struct limit *limit, unsigned int workers);

/* The worker gets a socket of the listener, or is to get its connections; joining twice is fine. */
int limit_join(struct limit *limit, struct child *child);

/* Its process is dead. */
void limit_bury(struct limit *limit, const struct child *child);

/* Takes a row of the worker's HELD message. */
int limit_tell(struct limit *limit, struct child *child, const struct ipc_held_row *row);

/* The worker has answered for connections that were handed to it. Returns whether permits have
 * become free with that. */
bool limit_answered(struct limit *limit, const struct child *child);

/* Gives and recalls permits, as it must be after anything of the above, or when a worker has become
 * able to accept, or is so no longer. */
void limit_update(struct limit *limit);

/* Gives what there is to those who will empty the kernel's queue, and does nothing any more. */
void limit_stop(struct limit *limit);

/* Connections, as far as the workers have told. */
uint32_t limit_in_use(const struct limit *limit);

#endif
