/* One process that makes load: its share of the work, on its own loop, as the parent commands.
 *
 * Owns:   client_run() everything it makes. The tally is shared memory of the parent's.
 * Errors: client_run() returns 0, or -errno when it could not even begin; what goes wrong with
 *         connections is counted in the tally.
 * Order:  on CLIENT_OPEN open the connections; tell the parent; work from its CLIENT_START on,
 *         and that is measured for options.duration seconds after options.warmup; hold what is
 *         open; on CLIENT_END finish what is under way, close. When the parent is gone it ends at
 *         once. */
#ifndef USHER_TESTS_LOAD_CLIENT_H
#define USHER_TESTS_LOAD_CLIENT_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/net/net.h"
#include "tests/load/options.h"
#include "tests/load/tally.h"

/* One byte each, over a SOCK_SEQPACKET pair. */
#define CLIENT_OPEN  'o'
#define CLIENT_READY 'r'
#define CLIENT_START 's'
#define CLIENT_END   'e'

struct client;

/* A kind of work. */
struct work {
	/* Opens what is open before the start, then client_ready(). */
	int (*open)(struct client *c);
	int (*start)(struct client *c);
	/* Begins nothing new. */
	void (*stop)(struct client *c);
	/* Operations that are still under way; 0 after a stop ends the process. */
	uint64_t (*pending)(const struct client *c);
};

extern const struct work work_exchange; /* echo, paced, idle */
extern const struct work work_churn;
extern const struct work work_stream;

struct client {
	const struct load_options *options;
	struct tally *tally;
	const struct work *work;
	enum lane_id lane;
	uint64_t first; /* number of its first connection among those of all processes */
	uint64_t connections;
	double open_rate; /* connections a second before the start; 0: no pace */
	double rate;      /* operations a second */
	bool paced;

	struct ev_loop *loop;
	int parent;
	ev_io commands;
	ev_timer timer;
	bool measured; /* the measured time is over */
	bool ending;
	void *state; /* the work's own */
};

int client_run(struct client *c, int parent);

/* Everything is open (or has failed). */
void client_ready(struct client *c);
/* Something has come: an operation may have ended, perhaps the last one. */
void client_check_end(struct client *c);

/* Connects the connection with this number, from the source address whose turn it is. */
int client_connect(struct client *c, uint64_t number, const struct net_socket_ops *ops, void *ctx,
		   struct net_socket **ret);

/* Where the bytes of a connection begin in the pattern. */
uint64_t client_position(uint64_t number);

#endif
