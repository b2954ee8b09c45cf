/* Many clients at once, without waiting for any of them: each connects, says something, and expects
 * it back; it stays for a while after that, then leaves, and another one takes its place.
 *
 * Each comes from an address of its own in 127.0.0.0/8.
 *
 * Owns:   its sockets and memory, until crowd_free().
 * Errors: what a client meets is counted; what cannot fail in a sane system fails the test through
 *         cmocka. */
#ifndef USHER_TESTS_HELPERS_CROWD_H
#define USHER_TESTS_HELPERS_CROWD_H

#include <stdbool.h>
#include <stddef.h>

/* To read; crowd_run() changes them. */
struct crowd_figures {
	size_t served;    /* have had their answer */
	size_t held;      /* of those: have not left, and the server has not ended them */
	size_t most_held; /* at any time */
	size_t waiting;   /* for the answer */
	size_t ended;     /* by the server before the answer: end of file */
	size_t reset;     /* or a reset */
	size_t cut_off;   /* by the server after the answer */
};

struct crowd {
	struct crowd_figures figures;
	int stays_ms; /* at most; -1: for ever */
	bool replace; /* somebody else comes for who has left or was ended */

	/* the module's */
	int port;
	int set;
	size_t size;
	struct crowd_client *clients;
	unsigned int last_address;
};

/* So many, none of which has come yet. */
struct crowd *crowd_new(int port, size_t size);
void crowd_free(struct crowd *crowd);

/* All places that are empty are taken. */
void crowd_fill(struct crowd *crowd);

/* Goes on for so long, or until is_there(ctx) if that is not NULL; returns whether it was. */
bool crowd_run(struct crowd *crowd, int ms, bool (*is_there)(void *ctx), void *ctx);

/* So many that are held leave now. */
void crowd_leave(struct crowd *crowd, size_t count);

#endif
