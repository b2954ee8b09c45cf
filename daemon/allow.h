/* Whether a worker may listen where one of its programs wants to, and what the log says of it.
 *
 * Without allow_listen in the configuration a worker gets what its user could have by himself. With
 * it a worker gets what is listed there and nothing else: of ports also those that its user could
 * not bind, of paths those that he may make. No worker gets a descriptor of ours.
 *
 * Errors: none; a refusal is logged with the key that decides, and how much one worker can write
 *         into the log is bounded.
 * Source: usher.yaml(5). */
#ifndef USHER_DAEMON_ALLOW_H
#define USHER_DAEMON_ALLOW_H

#include "common/cluster/shares.h"

/* ctx is the struct supervisor; holders are part of a struct child. */
extern const struct shares_ops allow_ops;

#endif
