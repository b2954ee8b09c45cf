/* Plain descriptors at the other end of judged sockets. A peer sends the pattern of net_judge.h and
 * checks that what it gets is the pattern too. Nothing here blocks.
 *
 * Owns: a peer owns its descriptor until peer_close() or peer_reset(). */
#ifndef USHER_TESTS_HELPERS_NET_PEERS_H
#define USHER_TESTS_HELPERS_NET_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer {
	int fd; /* -1: none */
	uint64_t sent;
	uint64_t received;
};

/* The peer gets fd and closes the one it had. A small one does not let the kernel take much. */
void peer_take(struct peer *peer, int fd, bool is_small);
void peer_close(struct peer *peer);
void peer_reset(struct peer *peer);
void peer_end(struct peer *peer);

void peer_send(struct peer *peer, size_t size);
/* check: nothing else than the pattern can come. */
void peer_receive(struct peer *peer, bool check);

/* A client of whoever listens on that port of 127.0.0.1; -1 if nobody does. */
int peer_connect(int port);

#endif
