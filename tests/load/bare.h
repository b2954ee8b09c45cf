/* What the limits have in common: options, listeners, forked workers and one bare epoll loop. A
 * limit is the least that a server can do on this kernel: no library, nothing allocated for a
 * connection, no feature. It is what usher's speed is measured against, in the same accept mode.
 *
 * Owns:   the listeners, the workers and what they counted. A connection is the program's.
 * Errors: what fails at the start ends the program with a message and a status of sysexits.h.
 * Order:  accepted(fd) once for each connection, then event(fd) for those the program watches.
 *         The line "listening ..." is printed when all workers are there.
 *         Workers end with the master, which ends on SIGTERM and SIGINT, or in any case when
 *         --seconds have passed, and prints what each worker counted as one line of JSON.
 * Source: epoll(7), epoll_ctl(2) for EPOLLEXCLUSIVE, socket(7) for SO_REUSEPORT, unix(7). */
#ifndef USHER_TESTS_LOAD_BARE_H
#define USHER_TESTS_LOAD_BARE_H

#include <stddef.h>
#include <stdint.h>

/* One buffer for each worker. */
#define BARE_BUFFER_SIZE 65536

struct bare_counts {
	uint64_t connections;
	uint64_t reads; /* those that gave bytes */
	uint64_t bytes;
};

/* A program's part; each function runs in a worker. */
struct bare_program {
	const char *name;
	const char *usage;                /* of the program's own options, or "" */
	int (*option)(const char *value); /* --to VALUE, or NULL; -1: it is no good */
	int (*start)(size_t fds);         /* before the loop; descriptors are below fds */
	void (*accepted)(int fd);         /* non-blocking, close-on-exec; now the program's */
	void (*event)(int fd, uint32_t events);
};

/* In a worker: its counts, its buffer, and its epoll set. */
extern struct bare_counts *bare_counts;
extern char bare_buffer[BARE_BUFFER_SIZE];
int bare_watch(int fd, uint32_t events);
void bare_change(int fd, uint32_t events);

int bare_main(int argc, char *argv[], const struct bare_program *program);

#endif
