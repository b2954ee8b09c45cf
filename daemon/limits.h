/* The limits of all listeners that have one: what happens to a worker happens to each of them.
 *
 * Owns:   the limits, from limits_open() to limits_close().
 * Errors: 0 or -errno; -EPROTO when a worker says what cannot be. */
#ifndef USHER_DAEMON_LIMITS_H
#define USHER_DAEMON_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

struct child;
struct ipc_held_row;
struct supervisor;

/* After the listeners were opened; on failure limits_close() is still to be called. */
int limits_open(struct supervisor *supervisor);
void limits_close(struct supervisor *supervisor);

/* There are to be so many workers, and sockets for them. */
int limits_scale(struct supervisor *supervisor, unsigned int workers);

/* The worker's process is dead, and what was on its way to it has gone elsewhere. */
void limits_bury(struct supervisor *supervisor, const struct child *child);

/* Takes the rows of a HELD message. */
int limits_tell(struct supervisor *supervisor, struct child *child, const struct ipc_held_row *rows,
		size_t n_rows);

/* The worker has answered for connections that were handed to it. Returns whether permits have
 * become free with that. */
bool limits_answered(struct supervisor *supervisor, const struct child *child);

/* After any change of a worker, or of who accepts on what. */
void limits_update(struct supervisor *supervisor);

/* Before the listeners are closed. Stopping twice is allowed. */
void limits_stop(struct supervisor *supervisor);

#endif
