/* A listener of the supervisor, from the configuration to its socket, or with reuse-port to one
 * for each slot.
 *
 * Owns:   the descriptors until listener_close(), and the file of a path that it made, which is
 *         removed only if it is still the same file.
 * Errors: listener_open() returns -errno, or for the name of a host a NET_ERR_*, and logs why, with
 *         the place in the configuration and what can be done. Of what was to be passed: -ENOENT,
 *         it was not; -EBUSY, another listener has it; -ENOTSOCK, it is no listening stream socket.
 * Source: socket(7), systemd.socket(5). */
#ifndef USHER_DAEMON_LISTENER_H
#define USHER_DAEMON_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cluster/source.h"
#include "common/net/bind.h"
#include "daemon/config.h"

#define LISTENER_ADDRESS_SIZE 128

struct child;
struct limit;

/* One socket. */
struct handle {
	struct bound bound;
	struct child *owner; /* the one worker that accepts, NULL: nobody; of a shared one: NULL */
};

struct listener {
	struct source source; /* its id, and who gets what is accepted here */
	const struct config_listener *config;
	struct limit *limit;    /* NULL: it may have any number of connections */
	struct handle *handles; /* with reuse-port the first is for slot 1, and so on */
	size_t n_handles;
	int family;                          /* AF_UNIX, AF_INET or AF_INET6 */
	char address[LISTENER_ADDRESS_SIZE]; /* the real one: a port 0 is resolved */
};

/* Whether its socket is another's, which is there already. Those are to be opened before the
 * others: a number that was not passed could else be that of a socket which has just been opened
 * here. */
bool listener_is_passed(const struct config_listener *config);

/* config is borrowed. With reuse-port slots sockets are opened, else one. An address that another
 * program listens on is taken, even if that one would share it. Waits for as much of patience_ms as
 * it needs until that one has gone, and takes it off. */
int listener_open(const struct config_listener *config, uint32_t id, unsigned int slots,
		  unsigned int *patience_ms, struct listener *ret);

/* Sees to it that there is a socket for each of so many slots. Those for more stay: closing one
 * would reset what waits in its queue. On failure those that were opened stay as well. */
int listener_grow(struct listener *listener, unsigned int slots);

/* Closing twice is allowed. */
void listener_close(struct listener *listener);

/* Whether each of its sockets is accepted on by one worker at a time. */
bool listener_has_owners(const struct listener *listener);

/* "tcp", "unix" or "abstract". */
const char *listener_kind(const struct listener *listener);

#endif
