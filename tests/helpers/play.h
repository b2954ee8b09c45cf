/* A worker in this process, and its supervisor played by the test over a bare socket.
 *
 * Use: play_setup() and play_teardown(); the state is a struct play, whose worker serves nothing
 * yet. The teardown fails when a descriptor was left open.
 *
 * Errors: what does not come in time fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_PLAY_H
#define USHER_TESTS_HELPERS_PLAY_H

#include <ev.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/handlers.h"
#include "common/ipc/claims.h"
#include "common/ipc/messages.h"
#include "worker/worker.h"

/* The numbers of the one listener. */
#define PLAY_LISTENER 3
#define PLAY_TALLY    2

#define PLAY_LOG_SIZE 4096

struct play {
	struct ev_loop *loop;
	struct worker worker;
	int channel; /* the supervisor's end */
	struct claims claims;
	int listening;
	int port;
	uint32_t next; /* number of a connection */
	int copy;      /* of the last one; -1: closed */
	size_t fds;
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
};

int play_setup(void **state);
int play_teardown(void **state);

#define PLAY_TEST(test) cmocka_unit_test_setup_teardown(test, play_setup, play_teardown)

/* Sends the worker a message, with as many descriptors as it has. */
void play_say(struct play *play, enum ipc_type type, const void *body, const void *tail,
	      size_t tail_count, const int *fds);

/* The next message of a type; others before it are dropped. Returns whether there was one. */
bool play_hear(struct play *play, enum ipc_type type, struct ipc_message *ret);

/* Whatever is ready, and what follows from it. */
void play_run_ready(struct play *play);

/* Until there is something for the client, and what is ready then. */
void play_run_until_heard(struct play *play, int client);

/* --- it takes connections -------------------------------------------------------------------- */

/* Announces the listener, whose connections come accepted. */
void play_announce(struct play *play, enum handler_kind handler, bool tell);

/* Hands off an accepted connection, of which a copy is kept; returns the client's end. */
int play_hand_off_one(struct play *play, uint32_t listener);

/* Closes the copy. */
void play_let_go(struct play *play);

/* Both: as a supervisor does that has looked already. */
int play_hand_off(struct play *play, uint32_t listener);

/* The page says that all up to this one are taken. */
void play_expect_taken(struct play *play, uint32_t number);

/* A message says so, and there is no other. */
void play_expect_bell(struct play *play, uint32_t number);
void play_expect_silence(struct play *play);

/* --- it accepts ------------------------------------------------------------------------------ */

/* Gives it the listening socket, to echo what comes. */
void play_serve(struct play *play, uint32_t handle, bool shared);

/* --- what it logs ---------------------------------------------------------------------------- */

/* As play_run_ready(); ret is what was written to standard error meanwhile. */
void play_run_logged(struct play *play, char ret[PLAY_LOG_SIZE]);
void play_expect_logged(const char *text, const char *wanted);

#endif
