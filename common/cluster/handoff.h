/* The connections that are on their way to one worker: handed off, and not yet taken.
 *
 * Nothing is lost: our copy of a connection is kept until we see that the worker has it. What it
 * refuses, lets wait for too long, or had not taken when it died, is given back.
 *
 * Owns:   each transit and its descriptor, from handoff_add() until it is taken or given back; then
 *         it is the caller's. Sources are borrowed.
 * Errors: 0 or -errno; -EPROTO when a worker takes what it was never sent.
 * Source: close(2) ends a connection only when no process and no queue has it any more, so each
 *         copy must be closed by somebody. */
#ifndef USHER_COMMON_CLUSTER_HANDOFF_H
#define USHER_COMMON_CLUSTER_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc/channel.h"
#include "common/ipc/claims.h"
#include "common/net/addr.h"

struct source;

/* Who lets a connection wait for longer does not get it. */
#define HANDOFF_PATIENCE_MS 1000

/* An accepted connection of which no worker has said yet that it has it. */
struct transit {
	TAILQ_ENTRY(transit) link;
	int fd;
	struct source *source; /* NULL: it is gone, and nobody else may have the connection */
	struct addr peer;
	int64_t accepted_ms;
	bool elsewhere;      /* a worker that let it wait has a copy in its queue */
	uint32_t number;     /* handoff's: within one worker */
	int64_t deadline_ms; /* handoff's: when another worker gets it; 0 until it is sent */
};

TAILQ_HEAD(transit_list, transit);

/* Closes the connection and frees the transit. */
void transit_free(struct transit *transit);

/* Adds those of a list to counts by the source's id, of which there are n. */
void transit_count(const struct transit_list *transits, uint32_t *counts, size_t n);

/* late and full are for reading, by_message is the caller's; the other fields are the module's own.
 */
struct handoff {
	struct transit_list transits; /* in the order of their numbers */
	uint32_t last;                /* number that was given away */
	uint32_t sent;
	uint32_t taken;     /* as far as we have looked */
	uint32_t withdrawn; /* up to this one they went elsewhere if they were not taken */
	struct claims claims;
	bool broken;     /* has taken what it was never sent */
	bool bell;       /* it is to say when it takes some */
	bool by_message; /* its figures come with PROGRESS: what it takes counts from then on */
	bool late;       /* has let one wait for too long, and taken none since */
	int full;        /* why it can take none for now, an errno; cleared by handoff_retry() */
};

void handoff_init(struct handoff *handoff);

/* Closes what is on its way. */
void handoff_done(struct handoff *handoff);

/* For a new process: the descriptor of the memory in which it takes is ret_fd, the caller's. */
int handoff_open(struct handoff *handoff, int *ret_fd);

/* Whether the worker may be given another one. */
bool handoff_has_room(const struct handoff *handoff);

/* How many it has not taken; those that went elsewhere since are among them. */
uint32_t handoff_unanswered(const struct handoff *handoff);

/* Whether any was noted that is not sent. */
bool handoff_has_unsent(const struct handoff *handoff);

/* Notes a connection for the next handoff_send(). */
void handoff_add(struct handoff *handoff, struct transit *transit);

/* Sends what was noted, in as few messages as it takes. On failure what did not go is in ret, and
 * the worker is full. To a channel that has ended everything goes, and is given back with the
 * rest. */
int handoff_send(struct handoff *handoff, struct channel *channel, int64_t now_ms,
		 struct transit_list *ret);

/* Sees what the worker has taken: our copies are closed, and what it refused is in ret. */
int handoff_look(struct handoff *handoff, struct transit_list *ret);

/* The same, when it has said PROGRESS. */
int handoff_told(struct handoff *handoff, uint32_t taken, struct transit_list *ret);

/* When one has waited for too long, moves all that the worker has not taken to ret; it is late
 * then. Look before. */
int handoff_expire(struct handoff *handoff, int64_t now_ms, struct transit_list *ret);

/* Whether the worker is to say when it takes some. Returns whether that is new: look then. */
bool handoff_want_bell(struct handoff *handoff, bool wanted);

/* Withdraws what it has not taken, moves it to ret and starts anew: the process has ended, or is to
 * have no more to do with us. */
void handoff_end(struct handoff *handoff, struct transit_list *ret);

/* The worker is no longer full. */
void handoff_retry(struct handoff *handoff);

/* Whether some went elsewhere of which it may still have a copy, in the queue in front of it. */
bool handoff_has_ghosts(const struct handoff *handoff);

/* How many of a source are on its way. */
uint32_t handoff_count_of(const struct handoff *handoff, const struct source *source);

/* The source is going: what comes back of its connections comes without it. */
void handoff_forget(struct handoff *handoff, const struct source *source);

/* When the first of them has waited for too long; 0: there is none. */
int64_t handoff_deadline_ms(const struct handoff *handoff);

#endif
