/* Who accepts the connections of a listener, by name: the one list that the configuration, the
 * supervisor and its answers share.
 *
 * Source: the first is what the specification calls sharing a handle. */
#ifndef USHER_DAEMON_DISTRIBUTE_H
#define USHER_DAEMON_DISTRIBUTE_H

#include <stdbool.h>

#include "common/cluster/policy.h"

/*        way          in YAML        how the supervisor, which accepts, chooses */
#define DISTRIBUTE_TABLE(X)                                                 \
	X(SHARED, "shared", POLICY_NONE)                                    \
	X(ROUND_ROBIN, "round-robin", POLICY_ROUND_ROBIN)                   \
	X(LEAST_CONNECTIONS, "least-connections", POLICY_LEAST_CONNECTIONS) \
	X(SOURCE_HASH, "source-hash", POLICY_SOURCE_HASH)                   \
	X(REUSE_PORT, "reuse-port", POLICY_NONE)

enum distribute {
#define X(way, name, policy) DISTRIBUTE_##way,
	DISTRIBUTE_TABLE(X)
#undef X
		DISTRIBUTE_END
};

/* The name of a way below DISTRIBUTE_END. */
const char *distribute_name(unsigned int way);

/* Whether the supervisor accepts, and chooses a worker for each connection. */
bool distribute_hands_off(enum distribute way);

/* How it chooses; POLICY_NONE when it does not accept. */
enum policy distribute_policy(enum distribute way);

/* Returns 0 or -ENOENT. */
int distribute_find(const char *name, enum distribute *ret);

#endif
