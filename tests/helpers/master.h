/* A supervisor in the test's own process: the library's processes and shares, and fake_listener
 * programs as workers, in the words of crew.h.
 *
 * Use: master_open(), any number of master_fork(), master_done(). While crew_hear() waits the loop
 * runs.
 *
 * Owns:   processes and shares. Its folder is removed at the end.
 * Errors: whatever goes wrong fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_MASTER_H
#define USHER_TESTS_HELPERS_MASTER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/cluster/process.h"
#include "common/cluster/shares.h"
#include "tests/helpers/crew.h"

struct master_worker {
	struct process process;
	struct holder holder;
	struct taker taker;
	unsigned int id;
	bool ready;
	bool lost;
	bool exited;
	const char *complaint; /* what it broke */
};

struct master {
	struct ev_loop *loop;
	char folder[32];
	struct crew crew;
	struct program program;
	struct shares shares;
	struct dispatcher dispatcher;
	struct master_worker workers[CREW_MAX];
	size_t count;

	/* What was told. */
	size_t n_listening;
	char heard[128]; /* of the last listening: "ADDRESS TYPE PORT FD" as asked, "-" for none */
	char difference[32];
	size_t n_refused;
};

/* policy POLICY_NONE: workers get sockets; else they get connections. */
void master_open(struct master *m, enum policy policy);
void master_done(struct master *m);

/* Starts a worker and waits until it is ready and has come to the crew. */
void master_fork(struct master *m);

/* Tells the worker to disconnect. */
void master_disconnect(struct master *m, size_t worker);

/* Runs what is ready. */
void master_run(struct master *m);

/* The same, for a crew that waits; ctx is the master. */
void master_meanwhile(void *ctx);

/* Runs until the condition holds; fails when it does not in time. */
#define MASTER_RUN_UNTIL(m, condition)                               \
	do {                                                         \
		int64_t master_deadline = now_ms() + WAIT_MS;        \
		while (!(condition) && left_ms(master_deadline) > 0) \
			master_run(m);                               \
		assert_true(condition);                              \
	} while (0)

#endif
