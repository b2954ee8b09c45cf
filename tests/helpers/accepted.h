/* Which connections of a port at 127.0.0.1 are accepted, as the kernel lists them: those that a
 * process has. What waits in the queue of a listening socket is not among them.
 *
 * A list is not of one moment: a connection may end while the next one is listed. What stands in
 * two lists was there all the time between them, so what both have was there at once.
 *
 * Owns:   the lists, until accepted_done().
 * Errors: a question that cannot be asked fails the test through cmocka.
 * Source: sock_diag(7); the inode of a socket that no process has is 0. */
#ifndef USHER_TESTS_HELPERS_ACCEPTED_H
#define USHER_TESTS_HELPERS_ACCEPTED_H

#include <stddef.h>
#include <stdint.h>

struct accepted_list {
	uint32_t *inodes; /* in ascending order */
	size_t count;
	size_t room;
};

struct accepted {
	int netlink;
	int port;
	struct accepted_list now;
	struct accepted_list before;
};

void accepted_init(struct accepted *accepted, int port);
void accepted_done(struct accepted *accepted);

/* Asks twice, and returns how many stand in both lists. */
size_t accepted_at_once(struct accepted *accepted);

#endif
