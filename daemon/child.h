/* One worker of the supervisor: a process in a slot. Mechanism only: the supervisor
 * decides what state a child is in and what to do about it.
 *
 * Owns:   process, channel and watchers. ops and ctx are borrowed.
 * Errors: functions return 0 or -errno.
 * Order:  as in common/cluster/process.h. */
#ifndef USHER_DAEMON_CHILD_H
#define USHER_DAEMON_CHILD_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/cluster/process.h"
#include "common/cluster/share.h"
#include "common/cluster/taker.h"

/* The states of a worker, and their names for people and JSON. */
#define CHILD_STATE_TABLE(X)                                                                      \
	X(STARTING, "starting")       /* runs, has not said READY */                              \
	X(READY, "ready")             /* serves */                                                \
	X(RESTING, "resting")         /* out of rotation: gets nothing new, serves what it has */ \
	X(DRAINING, "draining")       /* accepts no more, ends with its last connection */        \
	X(STOPPING, "stopping")       /* was killed or has closed its channel: its end is near */ \
	X(BACKING_OFF, "backing-off") /* no process: the next start waits */                      \
	X(DEAD, "dead")               /* no process, and none will come */

enum child_state {
#define X(name, text) CHILD_##name,
	CHILD_STATE_TABLE(X)
#undef X
		CHILD_STATES
};

struct child;

struct child_ops {
	void (*on_message)(struct child *child, struct ipc_message *message, void *ctx);
	void (*on_failed)(struct child *child, enum ipc_step step, int error, void *ctx);
	void (*on_lost)(struct child *child, int error, const char *why, void *ctx);
	void (*on_exit)(struct child *child, void *ctx);
	void (*on_deadline)(struct child *child, void *ctx);
};

TAILQ_HEAD(child_list, child);

struct child {
	/* the supervisor's */
	TAILQ_ENTRY(child) link;
	bool greeted;              /* its process has said HELLO */
	unsigned int rests;        /* REST messages that it has not answered */
	bool let_go;               /* resting: it accepts no more, or had its time to say so */
	bool retiring;             /* nobody takes its slot when it ends */
	unsigned int restarts;     /* of its slot, which were not our wish */
	unsigned int quick_deaths; /* in a row */
	struct holder holder;      /* what its programs listen on */
	unsigned int listen_lines; /* in the log, about that */

	/* to read */
	enum child_state state;
	unsigned int slot;
	unsigned int id; /* of the process: never used again */
	struct process process;
	struct taker taker; /* what is on its way to it, and its connections by listener */

	/* the module's */
	const struct child_ops *ops;
	void *ctx;
};

/* A child without a process, in state BACKING_OFF. */
int child_new(struct ev_loop *loop, unsigned int slot, const struct child_ops *ops, void *ctx,
	      struct child **ret);

/* NULL is fine. A process that still runs is killed, and left to the loop to reap. */
void child_free(struct child *child);

/* A worker's program: its file is opened, and it can gain no privileges. */
int child_program_open(const char *path, struct program *ret);

/* Starts the program as worker id with nothing but its channel and the standard streams. */
int child_spawn(struct child *child, unsigned int id, const struct program *program);

/* Its state, and with that whether it may be given connections. */
void child_set_state(struct child *child, enum child_state state);

/* Sends over the channel: see channel_send(). */
int child_send(struct child *child, enum ipc_type type, const void *body, const void *tail,
	       size_t tail_count, const int *fds);

/* Sends SIGKILL. What it has said before, and that it ended, is still told. */
void child_kill(struct child *child);

/* on_deadline comes after timeout_ms, unless another deadline takes its place; 0: none. */
void child_set_deadline(struct child *child, unsigned int timeout_ms);

const char *child_state_name(enum child_state state);

/* "worker 3 (slot 1, pid 812)", in a buffer that the next call uses again. */
const char *child_name(const struct child *child);

/* How its process ended, for the log, in a buffer of the same kind. */
const char *child_end(const struct child *child);

#endif
