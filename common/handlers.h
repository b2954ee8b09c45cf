/* What a worker can do with a connection, by name: the one list that the configuration, the
 * messages and the workers share.
 *
 * Source: operations of RFC 862 (echo) and RFC 863 (discard); reply is ours. */
#ifndef USHER_COMMON_HANDLERS_H
#define USHER_COMMON_HANDLERS_H

#include <stdbool.h>

/*        kind      in YAML    takes a text */
#define HANDLER_TABLE(X)             \
	X(ECHO, "echo", false)       \
	X(DISCARD, "discard", false) \
	X(REPLY, "reply", true)

/* The longest text of a handler, in bytes: it travels to the workers in one message. */
#define HANDLER_TEXT_MAX 4096

enum handler_kind {
#define X(kind, name, takes_text) HANDLER_##kind,
	HANDLER_TABLE(X)
#undef X
		HANDLER_KIND_END
};

/* The name of a kind below HANDLER_KIND_END; "?" for any other number. */
const char *handler_name(unsigned int kind);

bool handler_takes_text(enum handler_kind kind);

/* Returns 0 or -ENOENT. */
int handler_find(const char *name, enum handler_kind *ret);

#endif
