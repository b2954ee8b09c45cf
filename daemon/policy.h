/* Which worker gets a connection: one function for each way to distribute by hand-off.
 *
 * Owns:   nothing; a listener remembers whose turn it was.
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", for choosing
 * by the highest lot; the hash is FNV-1a, made even by the last step of SplitMix64. */
#ifndef USHER_DAEMON_POLICY_H
#define USHER_DAEMON_POLICY_H

#include <stdbool.h>

#include "common/net/addr.h"
#include "daemon/child.h"

struct listener;

/* Whether a worker can be given a connection. */
bool policy_is_able(const struct child *child);

/* The worker for a connection of peer; NULL when none is able. listener is one whose connections
 * are handed off. */
struct child *policy_choose(struct listener *listener, const struct child_list *children,
			    const struct addr *peer);

#endif
