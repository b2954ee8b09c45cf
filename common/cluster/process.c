#include "common/cluster/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/macros.h"

#define ERRNO_MAX 4095

/* So long may those that start within this time hold up who starts them, all together, until they
 * have closed what they have of ours. */
#define BEGIN_MS        500
#define BEGIN_WITHIN_MS 1000

/* --- what it tells --------------------------------------------------------------------------- */

/* What it says is checked like anything else that comes from there. */
static void take_failure(struct process *p, const struct ipc_failed *body)
{
	bool makes_sense = body->step < IPC_STEP_END && body->error > 0 && body->error <= ERRNO_MAX;

	channel_close(&p->channel);
	if (makes_sense)
		p->ops->on_failed(p, body->step, -(int)body->error, p->ctx);
	else
		p->ops->on_lost(p, -EPROTO, "a failure that makes no sense", p->ctx);
}

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct process *p = ctx;

	if (message->type == IPC_FAILED)
		take_failure(p, message->body);
	else
		p->ops->on_message(p, message, p->ctx);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct process *p = ctx;

	p->ops->on_lost(p, error, why, p->ctx);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

static void on_exit_status(struct ev_loop *loop, ev_child *watcher, int events)
{
	struct process *p = CONTAINER_OF(watcher, struct process, exit);

	ev_child_stop(loop, watcher);
	/* The signal of its end may overtake its last words. */
	channel_finish(&p->channel);
	ev_timer_stop(loop, &p->deadline);
	channel_close(&p->channel);
	p->status = watcher->rstatus;
	p->ops->on_exit(p, p->ctx);
}

/* What it has said in time may not have been read in time. */
static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct process *p = CONTAINER_OF(watcher, struct process, deadline);

	p->overdue = true;
	channel_finish(&p->channel);
	if (p->overdue)
		p->ops->on_deadline(p, p->ctx);
}

/* --- its life -------------------------------------------------------------------------------- */

void process_init(struct process *p, struct ev_loop *loop, const struct process_ops *ops, void *ctx)
{
	*p = (struct process){.loop = loop, .ops = ops, .ctx = ctx, .channel.fd = -1};
	ev_init(&p->exit, on_exit_status);
	ev_init(&p->deadline, on_deadline);
}

void process_close(struct process *p)
{
	ev_child_stop(p->loop, &p->exit);
	ev_timer_stop(p->loop, &p->deadline);
	p->overdue = false;
	channel_close(&p->channel);
}

/* The new process has no other way to say so than its channel. */
static void tell_failure(int channel, enum ipc_step step, int error)
{
	static alignas(uint32_t) char packet[IPC_PACKET_MAX];
	const struct ipc_failed body = {.step = step, .error = (uint32_t)-error};
	int size = ipc_encode(IPC_FAILED, &body, NULL, 0, packet);

	if (size > 0)
		send(channel, packet, (size_t)size, MSG_NOSIGNAL);
}

static _Noreturn void be_the_child(const struct program *program, char *const *environment,
				   int channel, int begun, pid_t parent)
{
	enum ipc_step step;
	int error = program_execute(program, environment, channel, begun, parent, &step);

	/* It may be in its place, or not yet. */
	tell_failure(step == IPC_STEP_DESCRIPTORS ? channel : PROGRAM_CHANNEL_FD, step, error);
	_exit(EX_OSERR);
}

/* Of our signal handlers none runs in the new process: what they do is for this one. */
static pid_t fork_quietly(void)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid != 0)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* A pipe whose writing end is out of the way of the numbers that are given away. */
static int open_begun(int *ret_reader, int *ret_writer)
{
	int ends[2], writer;

	if (pipe2(ends, O_CLOEXEC) == -1)
		return -errno;
	writer = fcntl(ends[1], F_DUPFD_CLOEXEC, PROGRAM_CHANNEL_FD + 1);
	close_fd(ends[1]);
	if (writer == -1) {
		close_fd(ends[0]);
		return -errno;
	}
	*ret_reader = ends[0];
	*ret_writer = writer;
	return 0;
}

/* Until then the new process has a copy of all that we have open, and what we close is not closed:
 * a client would not hear of its end, nor be counted as gone. */
static void await_beginning(int reader)
{
	static int64_t since_ms, left_ms;
	struct pollfd end = {.fd = reader};
	int64_t began_ms = clock_ms(), until_ms;

	if (began_ms - since_ms >= BEGIN_WITHIN_MS) {
		since_ms = began_ms;
		left_ms = BEGIN_MS;
	}
	until_ms = began_ms + left_ms;
	while (left_ms > 0 && poll(&end, 1, (int)left_ms) == -1 && errno == EINTR)
		left_ms = until_ms - clock_ms();
	left_ms = until_ms - clock_ms();
}

static void watch(struct process *p, pid_t pid)
{
	p->pid = pid;
	p->started_ms = clock_ms();
	ev_child_set(&p->exit, pid, 0);
	ev_child_start(p->loop, &p->exit);
}

int process_spawn(struct process *p, const struct program *program)
{
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	AUTO_CLOSE int begins = -1;
	AUTO_CLOSE int begun = -1;
	AUTO_FREE char **environment = NULL;
	pid_t pid, parent = getpid();
	int pair[2], error;

	error = channel_pair(pair);
	if (error < 0)
		return error;
	ours = pair[0];
	theirs = pair[1];
	error = program_environment(program, &environment);
	if (error == 0)
		error = open_begun(&begins, &begun);
	if (error < 0)
		return error;

	pid = fork_quietly();
	if (pid == -1)
		return -errno;
	if (pid == 0)
		be_the_child(program, environment, theirs, begun, parent);
	close_fd(take_fd(&begun));
	await_beginning(begins);

	watch(p, pid);
	error = channel_open(&p->channel, p->loop, ours, IPC_SUPERVISOR, &channel_ops, p);
	if (error < 0) {
		/* Its end is told by on_exit, like every other. */
		process_kill(p);
		return 0;
	}
	take_fd(&ours);
	return 0;
}

int process_send(struct process *p, enum ipc_type type, const void *body, const void *tail,
		 size_t tail_count, const int *fds)
{
	return channel_send(&p->channel, type, body, tail, tail_count, fds);
}

bool process_runs(const struct process *p)
{
	return ev_is_active(&p->exit);
}

int process_signal(struct process *p, int number)
{
	/* Until it is reaped the number is its own, so no other process can be hit. */
	if (!process_runs(p))
		return -ESRCH;
	return kill(p->pid, number) == -1 ? -errno : 0;
}

void process_kill(struct process *p)
{
	if (process_runs(p))
		kill(p->pid, SIGKILL);
}

void process_set_deadline(struct process *p, unsigned int timeout_ms)
{
	ev_timer_stop(p->loop, &p->deadline);
	p->overdue = false;
	if (timeout_ms == 0)
		return;
	/* Counted from now, not from when the loop last woke. */
	ev_now_update(p->loop);
	ev_timer_set(&p->deadline, timeout_ms / 1000.0, 0);
	ev_timer_start(p->loop, &p->deadline);
}
