#include "daemon/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/macros.h"

static struct child *child_of(struct process *process)
{
	return CONTAINER_OF(process, struct child, process);
}

static void on_message(struct process *process, struct ipc_message *message, void *ctx)
{
	struct child *child = child_of(process);

	child->ops->on_message(child, message, child->ctx);
}

static void on_failed(struct process *process, enum ipc_step step, int error, void *ctx)
{
	struct child *child = child_of(process);

	child->ops->on_failed(child, step, error, child->ctx);
}

static void on_lost(struct process *process, int error, const char *why, void *ctx)
{
	struct child *child = child_of(process);

	child->ops->on_lost(child, error, why, child->ctx);
}

static void on_exit_status(struct process *process, void *ctx)
{
	struct child *child = child_of(process);

	child->ops->on_exit(child, child->ctx);
}

static void on_deadline(struct process *process, void *ctx)
{
	struct child *child = child_of(process);

	child->ops->on_deadline(child, child->ctx);
}

static const struct process_ops process_ops = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};

int child_new(struct ev_loop *loop, unsigned int slot, const struct child_ops *ops, void *ctx,
	      struct child **ret)
{
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return -ENOMEM;
	child->slot = slot;
	child->ops = ops;
	child->ctx = ctx;
	process_init(&child->process, loop, &process_ops, NULL);
	taker_init(&child->taker, slot, &child->process.channel);
	child_set_state(child, CHILD_BACKING_OFF);
	*ret = child;
	return 0;
}

void child_free(struct child *child)
{
	if (!child)
		return;
	process_kill(&child->process);
	process_close(&child->process);
	taker_done(&child->taker);
	free(child);
}

int child_program_open(const char *path, struct program *ret)
{
	static const char *const args[] = {"usher-worker", NULL};
	int error = program_open(path, ret);

	if (error < 0)
		return error;
	ret->args = args;
	ret->confined = true;
	return 0;
}

int child_spawn(struct child *child, unsigned int id, const struct program *program)
{
	int error = process_spawn(&child->process, program);

	if (error == 0)
		child->id = id;
	return error;
}

void child_set_state(struct child *child, enum child_state state)
{
	child->state = state;
	child->taker.ready = state == CHILD_READY;
}

int child_send(struct child *child, enum ipc_type type, const void *body, const void *tail,
	       size_t tail_count, const int *fds)
{
	return process_send(&child->process, type, body, tail, tail_count, fds);
}

void child_kill(struct child *child)
{
	process_kill(&child->process);
}

void child_set_deadline(struct child *child, unsigned int timeout_ms)
{
	process_set_deadline(&child->process, timeout_ms);
}

const char *child_state_name(enum child_state state)
{
	static const char *const names[CHILD_STATES] = {
#define X(name, text) [CHILD_##name] = (text),
		CHILD_STATE_TABLE(X)
#undef X
	};

	return names[state];
}

const char *child_name(const struct child *child)
{
	static char name[64];

	snprintf(name, sizeof(name), "worker %u (slot %u, pid %d)", child->id, child->slot,
		 (int)child->process.pid);
	return name;
}

/* Real-time signals have numbers only. */
static void write_signal(int number, char *text, size_t size)
{
	const char *name = sigabbrev_np(number);

	if (name)
		snprintf(text, size, "died of SIG%s", name);
	else
		snprintf(text, size, "died of signal %d", number);
}

const char *child_end(const struct child *c)
{
	static char text[64];

	if (WIFSIGNALED(c->process.status))
		write_signal(WTERMSIG(c->process.status), text, sizeof(text));
	else if (WEXITSTATUS(c->process.status) != 0)
		snprintf(text, sizeof(text), "ended with status %d",
			 WEXITSTATUS(c->process.status));
	else
		snprintf(text, sizeof(text), "has ended");
	return text;
}
