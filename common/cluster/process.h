/* One child process: how it starts, the channel to it, one deadline, its end. Mechanism only: who
 * has it decides what to do about what is told.
 *
 * Owns:   process, channel and watchers. ops and ctx are borrowed.
 * Errors: functions return 0 or -errno. What goes wrong in the new process before it runs its
 *         program is told by on_failed in place of on_lost, and its end by on_exit as ever.
 * Order:  all messages of a process come before its on_lost, and that before its on_exit; each of
 *         those comes once. No callback frees the process but on_exit and on_deadline.
 * Source: fork(2); ev(3), "ev_child", which the default loop alone has. */
#ifndef USHER_COMMON_CLUSTER_PROCESS_H
#define USHER_COMMON_CLUSTER_PROCESS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cluster/program.h"
#include "common/ipc/channel.h"

struct process;

struct process_ops {
	void (*on_message)(struct process *process, struct ipc_message *message, void *ctx);
	void (*on_failed)(struct process *process, enum ipc_step step, int error, void *ctx);
	void (*on_lost)(struct process *process, int error, const char *why, void *ctx);
	void (*on_exit)(struct process *process, void *ctx);
	void (*on_deadline)(struct process *process, void *ctx);
};

struct process {
	/* to read */
	pid_t pid;          /* 0: none */
	int status;         /* of the last one, as waitpid(2) has it */
	int64_t started_ms; /* by clock_ms() */

	/* the module's */
	struct ev_loop *loop;
	const struct process_ops *ops;
	void *ctx;
	struct channel channel;
	ev_child exit;
	ev_timer deadline;
	bool overdue; /* it has passed, and nothing that was said has put another in its place */
};

/* Without a process for now. */
void process_init(struct process *process, struct ev_loop *loop, const struct process_ops *ops,
		  void *ctx);

/* A process that still runs goes on without its channel, and is left to the loop to reap. */
void process_close(struct process *process);

/* Starts the program with nothing but its channel and the standard streams. When this returns, the
 * new process has no other descriptor of ours any more: what is closed from then on is closed. For
 * that it waits, for all that start within a second half of it at most. */
int process_spawn(struct process *process, const struct program *program);

/* Sends over the channel: see channel_send(). */
int process_send(struct process *process, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds);

/* Sends a signal. Returns 0, -ESRCH without a process, -EINVAL, -EPERM. */
int process_signal(struct process *process, int number);

/* Sends SIGKILL. What it has said before, and that it ended, is still told. */
void process_kill(struct process *process);

/* Whether it has not been reaped yet. */
bool process_runs(const struct process *process);

/* on_deadline comes after timeout_ms, unless another deadline takes its place; 0: none. What the
 * process has said by then is told before. */
void process_set_deadline(struct process *process, unsigned int timeout_ms);

#endif
