/* Which connections of a port at 127.0.0.1 are accepted, as the kernel lists them: those that a
 * process has. What waits in the queue of a listening socket is not among them, nor what both
 * sides have ended.
 *
 * A list is not of one moment: a connection may end while the next one is listed. What stands in
 * two lists was there all the time between them, so what both have was there at once.
 *
 * Owns:   the lists, until accepted_done().
 * Errors: a question that cannot be asked fails the test through cmocka.
 * Source: sock_diag(7); the inode of a socket that no process has is 0. */
#ifndef USHER_TESTS_HELPERS_ACCEPTED_H
#define USHER_TESTS_HELPERS_ACCEPTED_H

#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>

struct accepted_row {
	uint32_t inode;
	uint8_t state; /* as netinet/tcp.h numbers them */
};

struct accepted_list {
	struct accepted_row *rows; /* by inode */
	size_t count;
	size_t room;
};

/* No state that is looked at has a higher number. */
#define ACCEPTED_STATES (TCP_CLOSE_WAIT + 1)

struct accepted {
	int netlink;
	int port;
	struct accepted_list now;
	struct accepted_list before;
	size_t in_state[ACCEPTED_STATES]; /* of those that were there at once */
};

void accepted_init(struct accepted *accepted, int port);
void accepted_done(struct accepted *accepted);

/* Asks twice, and returns how many stand in both lists. */
size_t accepted_at_once(struct accepted *accepted);

/* In which states those were: "99 ESTABLISHED, 1 CLOSE_WAIT". */
void accepted_states(const struct accepted *accepted, char *text, size_t size);

#endif
