/* Who accepts the connections of a listener, by name: the one list that the configuration, the
 * supervisor and its answers share.
 *
 * Source: the first is what the specification calls sharing a handle. */
#ifndef USHER_DAEMON_DISTRIBUTE_H
#define USHER_DAEMON_DISTRIBUTE_H

#include <stdbool.h>

/*        way          in YAML        the supervisor accepts and hands off */
#define DISTRIBUTE_TABLE(X)                             \
	X(SHARED, "shared", false)                      \
	X(ROUND_ROBIN, "round-robin", true)             \
	X(LEAST_CONNECTIONS, "least-connections", true) \
	X(SOURCE_HASH, "source-hash", true)             \
	X(REUSE_PORT, "reuse-port", false)

enum distribute {
#define X(way, name, hands_off) DISTRIBUTE_##way,
	DISTRIBUTE_TABLE(X)
#undef X
		DISTRIBUTE_END
};

/* The name of a way below DISTRIBUTE_END. */
const char *distribute_name(unsigned int way);

/* Whether the supervisor accepts, and chooses a worker for each connection. */
bool distribute_hands_off(enum distribute way);

/* Returns 0 or -ENOENT. */
int distribute_find(const char *name, enum distribute *ret);

#endif
