/* Which process has which connection of a TCP port, as the kernel tells it: what no program's own
 * account can say.
 *
 * Owns:   a list owns its rows, until owners_done().
 * Errors: a question that cannot be asked fails the test through cmocka.
 * Source: proc_pid_net(5) for /proc/net/tcp, so IPv4 alone; proc(5) for /proc/PID/fd. */
#ifndef USHER_TESTS_HELPERS_OWNERS_H
#define USHER_TESTS_HELPERS_OWNERS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct owner {
	uint32_t address; /* the client's, as a number */
	uint16_t port;
	int process; /* index of who has the server's end; -1: none of those that were named */
};

struct owners {
	struct owner *rows; /* in the order of the clients' addresses and ports */
	size_t count;
};

/* The established connections of the servers' port, each once, with its owner among the processes.
 * The kernel gives its list piece by piece: while connections come and go, be they other people's,
 * some may be missing. */
void owners_read(struct owners *owners, int port, const pid_t *pids, size_t n_pids);
/* The same until count of them have an owner; fails the test if that does not come. */
void owners_await(struct owners *owners, int port, const pid_t *pids, size_t n_pids, size_t count);
/* How many of them a process has. */
size_t owners_count(const struct owners *owners, int process);
void owners_done(struct owners *owners);

#endif
