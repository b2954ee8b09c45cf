/* A channel on a loop under a watchdog, for tests of it.
 *
 * The supervisor's end is always a channel. The other is a bare socket, to send what a channel
 * never would, or the worker's channel. The teardown fails when a descriptor was left open. */
#ifndef USHER_TESTS_HELPERS_CHANNEL_WORLD_H
#define USHER_TESTS_HELPERS_CHANNEL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/ipc/channel.h"

#define WORLD_REMEMBERED 8192

/* What one end got. Messages carry their number as the first field of their body. */
struct end {
	struct channel channel;
	void (*react)(struct end *end, struct ipc_message *message);
	size_t count; /* of messages that came */
	uint32_t numbers[WORLD_REMEMBERED];
	size_t last_size; /* of the tail, in elements */
	int taken;        /* the descriptor that react took */
	int lost_count;
	int lost_error;
	char lost_why[128];
};

struct world {
	struct ev_loop *loop;
	ev_timer watchdog;
	bool late;
	struct end supervisor;
	struct end worker;
	int theirs; /* the bare socket, until the worker's channel has it */
	size_t open_before;
};

extern const struct channel_ops world_ops;

int world_setup(void **state);
int world_teardown(void **state);

/* Gives the bare socket to the worker's channel. */
void world_open_worker(struct world *w);

/* Runs the loop until the condition holds; fails when the watchdog comes first. */
#define WORLD_RUN_UNTIL(w, condition)                  \
	do {                                           \
		while (!(condition) && !(w)->late)     \
			ev_run((w)->loop, EVRUN_ONCE); \
		assert_false((w)->late);               \
	} while (0)

/* Runs what is ready, and all that follows from it: on local sockets nothing is on its way. */
void world_run_ready(struct world *w);

/* Waits for the loss, which must come with this error, a reason, and no second time. */
void world_assert_lost_once(struct world *w, const struct end *end, int error);

/* So many messages came, in order. */
void world_assert_numbers(const struct end *end, size_t count);

/* The supervisor's channel sends; they return what channel_send() does. */
int world_send_count(struct world *w, size_t number);
int world_send_serve(struct world *w, size_t number, int fd);

/* Sends numbered messages until one has to wait. Returns how many. */
size_t world_fill(struct world *w);

/* Sends bytes from the bare socket past all checks, with n_fds descriptors. Returns what
 * fdpass_send() does. */
ssize_t world_send_raw(struct world *w, const void *data, size_t size, size_t n_fds);

/* Sends a message of the worker's from the bare socket. Returns whether it went. */
bool world_send_hello(struct world *w, size_t number, size_t n_fds);

#endif
