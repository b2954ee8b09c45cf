/* The cast of most tests of the net library: a host H, a client C, and S, the host's end of it.
 *
 * Use: cmocka_unit_test_setup_teardown(test, stage_set, stage_clear); the state is a struct stage
 * with a begun story and nobody on it. stage_clear() ends what the test left, and fails if
 * something outlives that. */
#ifndef USHER_TESTS_HELPERS_STAGE_H
#define USHER_TESTS_HELPERS_STAGE_H

#include "tests/helpers/story.h"

struct stage {
	struct story story;
	struct host host;
	struct actor client;
	struct actor guest;
	struct actor guests[4]; /* for further connections */
	char directory[32];     /* for Unix sockets */
	char path[64];
};

int stage_set(void **state);
int stage_clear(void **state);

#define on_stage(test) cmocka_unit_test_setup_teardown(test, stage_set, stage_clear)

/* H, which does not listen yet. */
struct net_server *stage_create(struct stage *stage, const struct net_server_options *options);
/* Has that H listen. Returns what net_server_listen() does; the outcome is told as H.done. */
int stage_listen_on(struct stage *stage, struct net_listen_options options);
/* Opens H on TCP. */
void stage_open(struct stage *stage, const struct net_server_options *options);
/* Opens H on stage->path. */
void stage_open_path(struct stage *stage, const struct net_server_options *options);
/* C without a connection. */
void stage_unconnected(struct stage *stage);
/* Has that C connect. Returns what net_socket_connect() does; the outcome is told as C.done. */
int stage_connect_to(struct stage *stage, struct net_connect_options options);
/* Connects C and waits until both ends are there; the story is empty then. */
void stage_connect(struct stage *stage, const struct net_socket_options *options);
/* stage_open() and stage_connect() with defaults. */
void stage_connected(struct stage *stage);

/* What the kernel has for an option of a socket: its level and name are those of getsockopt(2). */
int option_of(const struct net_socket *socket, int level, int name);

/* A plain, blocking descriptor connected to H, whose end is S. */
int stage_plain(struct stage *stage);

/* Writes to a plain descriptor, all of it. */
void plain_send(int fd, const char *text);
/* Reads until size bytes or the end have come; returns how many. */
size_t plain_receive(int fd, void *data, size_t size);
/* Resets the connection and closes the descriptor. */
void plain_reset(int fd);
/* Sees that the peer reset the connection. */
void plain_expect_reset(int fd);

#endif
