/* The permits that this worker has for the connections of one listener, and what it says of them.
 *
 * There is a permit for each connection, and some may be free, for the next ones. As long as none
 * is, its servers leave the kernel's queue alone; what is free and may not be kept goes back. An
 * object lives as long as the process: a server may be gone, and with it its last connection,
 * before the permit was given back.
 *
 * Owns:   a timer. Services join and leave.
 * Source: common/ipc/messages.h says what is promised to whom. */
#ifndef USHER_WORKER_PERMITS_H
#define USHER_WORKER_PERMITS_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc/messages.h"

/* What connections there are is told at least so often when it has changed. */
#define PERMITS_TELL_S 1

struct service;

/* All fields are the module's own. */
struct permits {
	LIST_ENTRY(permits) link;
	LIST_HEAD(, service) services;
	uint32_t listener;
	bool accepts; /* this process does; else connections come accepted, with their permits */
	uint32_t held;
	uint32_t keep;
	struct ipc_permit last; /* PERMIT */
	uint32_t answered;      /* its serial */
	bool told_out;          /* that none is free, when anything was told last */
	uint32_t told_used;
	uint32_t taken; /* connections that came accepted, in all */
	uint32_t told_ended;
};

/* Those of all listeners. All fields are the module's own. */
struct permits_book {
	struct ev_loop *loop;
	LIST_HEAD(, permits) all;
	ev_timer figures; /* until they are told, though nothing else is to be */
	bool due;
};

void permits_init(struct permits_book *book, struct ev_loop *loop);

/* No service may be in one. */
void permits_done(struct permits_book *book);

/* Those of a listener, from the book or new in it; NULL without memory. */
struct permits *permits_get(struct permits_book *book, uint32_t listener, bool accepts);

/* The service is one of the listener's: before it listens, and when it is freed. One that is in
 * none may leave. */
void permits_join(struct permits *permits, struct service *service);
void permits_leave(struct service *service);

/* A connection that came accepted is this worker's now, even if it ends at once. Those of a
 * listener that is not metered do not matter. */
void permits_note_taken(struct permits_book *book, uint32_t listener);

/* Takes a PERMIT message. */
void permits_take(struct permits *permits, const struct ipc_permit *message);

/* Accepts what PERMITs were for. */
void permits_accept(struct permits_book *book);

/* Gives back what is not needed, and fills in rows for what there is to tell, at most max. Returns
 * how many; they must be sent. To be called after permits_accept(), when those who came by it and
 * have ended at once are gone. */
size_t permits_settle(struct permits_book *book, struct ipc_held_row *rows, size_t max);

#endif
