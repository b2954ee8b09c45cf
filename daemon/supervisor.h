/* The supervisor: keeps every listening socket, and a worker in every slot. What happens to a
 * worker is lifecycle's to decide, who accepts where is assign's, who gets a connection that is
 * accepted here is dispatch's.
 *
 * The supervisor reads no client's byte, and what it holds of clients is bounded.
 *
 * Owns:   listeners, workers and watchers. config and the program are borrowed.
 * Errors: functions return 0 or -errno; what goes wrong later is logged and survived.
 * Source: ev(3), sd_notify(3). */
#ifndef USHER_DAEMON_SUPERVISOR_H
#define USHER_DAEMON_SUPERVISOR_H

#include "common/cluster/dispatch.h"
#include "common/cluster/shares.h"
#include "daemon/child.h"
#include "daemon/config.h"
#include "daemon/count.h"
#include "daemon/list.h"
#include "daemon/listener.h"
#include "daemon/nudge.h"
#include "daemon/supervisor_state.h"

struct supervisor {
	struct ev_loop *loop;
	const struct config *config;
	struct program program;
	enum supervisor_state state;
	int64_t started_ms; /* by clock_ms() */

	struct listener *listeners;
	size_t n_listeners;

	struct child_list children;
	unsigned int workers; /* how many slots there shall be */
	unsigned int last_worker;

	LIST_HEAD(, rest_wait) rest_waits;

	struct counter counter;
	struct lister lister;
	struct nudge nudge;
	struct dispatcher dispatcher;
	struct rights rights;                     /* of the workers' user */
	struct shares shares;                     /* what workers listen on themselves */
	ev_timer watchdog;                        /* this and what follows is supervisor_state's */
	ev_timer retry;                           /* of what the service manager had no room for */
	char status_told[SUPERVISOR_STATUS_SIZE]; /* the last that went to it */
};

/* Opens all listeners; complains about each that fails. Errors are those of listener_open() too. */
int supervisor_init(struct supervisor *supervisor, struct ev_loop *loop,
		    const struct config *config, const struct program *program,
		    unsigned int workers);

/* Starts the workers. */
void supervisor_start(struct supervisor *supervisor);

/* Takes no further connections and lets the workers finish theirs, up to the drain timeout; then
 * the loop ends. A second call ends the workers at once. */
void supervisor_stop(struct supervisor *supervisor);

/* More or fewer workers. Those that are too many drain. -ERANGE: not 1 to CONFIG_WORKERS_MAX;
 * -ESHUTDOWN: it stops; or why a socket for another slot cannot be opened: then nothing changes. */
int supervisor_scale(struct supervisor *supervisor, unsigned int workers);

/* How many workers are in that state. */
unsigned int supervisor_count_in(const struct supervisor *supervisor, enum child_state state);

/* The worker with that id, if it has a process; else NULL. */
struct child *supervisor_find_worker(const struct supervisor *supervisor, unsigned int id);

/* Takes a ready worker out of rotation: it gets no new connections, and serves those it has; or
 * back into it. Doing that twice is fine. -EAGAIN: it has not become ready yet; -ESHUTDOWN: it is
 * to end. */
int supervisor_rest(struct supervisor *supervisor, struct child *child);
int supervisor_resume(struct supervisor *supervisor, struct child *child);

/* Somebody who wants to know when a worker that was told to rest accepts no more. */
struct rest_wait {
	LIST_ENTRY(rest_wait) link; /* the supervisor's */
	unsigned int worker;
	/* Called once, when it does so or rests no longer: child has its state. NULL: the
	 * supervisor ends. */
	void (*over)(struct rest_wait *wait, const struct child *child);
};

/* Returns whether there is something to wait for: then wait is borrowed until over is called. */
bool supervisor_await_rest(struct supervisor *supervisor, const struct child *child,
			   struct rest_wait *wait);
void supervisor_rest_is_over(struct supervisor *supervisor, const struct child *child);

/* Starts another worker in the child's slot, while it finishes; without memory for that none comes
 * before it has ended. */
void supervisor_replace_worker(struct supervisor *supervisor, struct child *child);

/* Starts a process for a child that has none, or has it back off. */
void supervisor_start_worker(struct supervisor *supervisor, struct child *child);

/* Kills what still runs and closes everything. */
void supervisor_done(struct supervisor *supervisor);

#endif
