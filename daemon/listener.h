/* One listening socket of the supervisor, from the configuration to a descriptor.
 *
 * Owns:   the descriptor until listener_close(), and the file of a path that it made, which is
 *         removed only if it is still the same file.
 * Errors: listener_open() returns -errno and logs why, with the place in the configuration and
 *         what can be done.
 * Source: socket(7), systemd.socket(5). */
#ifndef USHER_DAEMON_LISTENER_H
#define USHER_DAEMON_LISTENER_H

#include <stdint.h>

#include "common/net/bind.h"
#include "daemon/config.h"

#define LISTENER_ADDRESS_SIZE 128

struct child;

struct listener {
	uint32_t id;
	const struct config_listener *config;
	struct bound bound;
	char address[LISTENER_ADDRESS_SIZE]; /* the real one: a port 0 is resolved */
	struct child *owner;                 /* of an exclusive one: who accepts, NULL: nobody */
};

/* config is borrowed. */
int listener_open(const struct config_listener *config, uint32_t id, struct listener *ret);

/* Closing twice is allowed. */
void listener_close(struct listener *listener);

/* "tcp", "unix" or "abstract". */
const char *listener_kind(const struct listener *listener);

/* Writes a command that connects to the listener, for people who want to try it. */
void listener_hint(const struct listener *listener, char *text, size_t size);

#endif
