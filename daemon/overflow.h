/* What becomes of a connection that is more than max_connections allows: the names, and the end of
 * one that is turned away.
 *
 * Source: tcp(7) and socket(7): SO_LINGER of zero seconds makes close(2) a reset. */
#ifndef USHER_DAEMON_OVERFLOW_H
#define USHER_DAEMON_OVERFLOW_H

/*        way    in YAML */
#define OVERFLOW_TABLE(X)                                                      \
	X(QUEUE, "queue") /* it waits to be accepted, in the kernel's queue */ \
	X(DROP, "drop")   /* it is accepted and closed */                      \
	X(RESET, "reset") /* it is accepted and reset */

enum overflow {
#define X(way, name) OVERFLOW_##way,
	OVERFLOW_TABLE(X)
#undef X
		OVERFLOW_END
};

/* The name of a way below OVERFLOW_END. */
const char *overflow_name(unsigned int way);

/* Returns 0 or -ENOENT. */
int overflow_find(const char *name, enum overflow *ret);

/* Accepts one connection that waits on the listening socket fd, and ends it; way is not
 * OVERFLOW_QUEUE. Its client sees the end of the stream or the reset, also if it has sent something
 * already. Returns 0, or -errno of accept4(2). */
int overflow_turn_away(int fd, enum overflow way);

#endif
