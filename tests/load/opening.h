/* The connections of a process that are there before the start: opened at --open-rate, or else as
 * fast as the server takes them, some at a time.
 *
 * Owns:   a pace. The client is borrowed.
 * Errors: opening_begin() returns 0 or -errno; a connect that fails is counted in the tally.
 * Order:  client_ready() is called when the last one is open or has failed. */
#ifndef USHER_TESTS_LOAD_OPENING_H
#define USHER_TESTS_LOAD_OPENING_H

#include <stdint.h>

#include "tests/load/client.h"
#include "tests/load/pace.h"

/* Connects the one with this number, and calls opening_settled() later; or returns -errno. */
typedef int opening_fn(struct client *c, uint64_t number);

struct opening {
	struct client *client;
	opening_fn *connect;
	struct pace pace;
	uint64_t allowed, begun, settled; /* connects */
};

int opening_begin(struct opening *o, struct client *c, opening_fn *connect);

/* One is open, or has failed. */
void opening_settled(struct opening *o);

#endif
