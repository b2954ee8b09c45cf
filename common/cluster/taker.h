/* Who gets connections that are accepted here: a worker, over its channel.
 *
 * It takes those of the sources that it has joined, and what it said of its connections is kept by
 * the source's id for as long.
 *
 * Owns:   what is on its way to it, and the figures. The channel is borrowed.
 * Errors: 0 or -ENOMEM. */
#ifndef USHER_COMMON_CLUSTER_TAKER_H
#define USHER_COMMON_CLUSTER_TAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/handoff.h"
#include "common/ipc/channel.h"

struct taker_row;

struct taker {
	unsigned int rank; /* where it stands when they take turns; from 1 on */
	bool ready;        /* it may be given connections */
	struct channel *channel;
	struct handoff handoff;

	/* the module's */
	TAILQ_ENTRY(taker) link; /* dispatch's */
	struct taker_row *rows;  /* in the order of the ids */
	size_t n_rows;
	uint32_t last_tally;
};

TAILQ_HEAD(taker_list, taker);

void taker_init(struct taker *taker, unsigned int rank, struct channel *channel);
void taker_done(struct taker *taker);

/* It takes connections of the source with that id from now on; joining twice is fine. */
int taker_join(struct taker *taker, uint32_t id);
void taker_leave(struct taker *taker, uint32_t id);
void taker_leave_all(struct taker *taker);
bool taker_has_joined(const struct taker *taker, uint32_t id);

/* It counts the connections of a source that have ended in its claims: returns under which tally.
 * 0: none is left, and it must tell its connections by message. */
uint32_t taker_use_tally(struct taker *taker, uint32_t id);

/* Notes that it was given a connection, or that one came back. */
void taker_gave(struct taker *taker, uint32_t id);
void taker_got_back(struct taker *taker, uint32_t id);

/* How many it has and is about to have: of the source if there is a tally, else with what is on its
 * way from others. */
uint32_t taker_load(const struct taker *taker, uint32_t id);

/* The same by source, as far as it can be known without asking: where there is no tally what it
 * said last, and what is on its way. */
void taker_count(const struct taker *taker, uint32_t *counts, size_t n_counts);

/* Whether it can be given a connection now. */
bool taker_is_able(const struct taker *taker);

/* What it said last; 0 for a source that it has not joined, of which nothing is kept. */
uint32_t taker_connections(const struct taker *taker, uint32_t id);
void taker_set_connections(struct taker *taker, uint32_t id, uint32_t connections);

#endif
