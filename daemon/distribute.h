/* Who accepts the connections of a listener, by name: the one list that the configuration, the
 * supervisor and its answers share.
 *
 * Source: the first is what the specification calls sharing a handle. */
#ifndef USHER_DAEMON_DISTRIBUTE_H
#define USHER_DAEMON_DISTRIBUTE_H

#define DISTRIBUTE_TABLE(X)                                               \
	X(SHARED, "shared")         /* every worker, on the one socket */ \
	X(REUSE_PORT, "reuse-port") /* every worker, on a socket of its slot's own */

enum distribute {
#define X(name, text) DISTRIBUTE_##name,
	DISTRIBUTE_TABLE(X)
#undef X
		DISTRIBUTE_END
};

/* The name of a way below DISTRIBUTE_END. */
const char *distribute_name(unsigned int way);

/* Returns 0 or -ENOENT. */
int distribute_find(const char *name, enum distribute *ret);

#endif
