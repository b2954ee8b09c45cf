#include "daemon/child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/log.h"
#include "common/macros.h"

/* The channel's number in the worker, the first after the standard streams. */
#define CHANNEL_FD 3

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct child *child = ctx;

	child->ops->on_message(child, message, child->ctx);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct child *child = ctx;

	child->ops->on_lost(child, error, why, child->ctx);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

static void on_exit_status(struct ev_loop *loop, ev_child *watcher, int events)
{
	struct child *child = CONTAINER_OF(watcher, struct child, exit);

	ev_child_stop(loop, watcher);
	/* The signal of its end may overtake its last words. */
	channel_finish(&child->channel);
	ev_timer_stop(loop, &child->deadline);
	channel_close(&child->channel);
	child->status = watcher->rstatus;
	child->ops->on_exit(child, child->ctx);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct child *child = CONTAINER_OF(watcher, struct child, deadline);

	child->ops->on_deadline(child, child->ctx);
}

int child_new(struct ev_loop *loop, unsigned int slot, size_t n_listeners,
	      const struct child_ops *ops, void *ctx, struct child **ret)
{
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return -ENOMEM;
	child->connections = calloc(n_listeners + 1, sizeof(*child->connections));
	if (!child->connections) {
		free(child);
		return -ENOMEM;
	}

	child->loop = loop;
	child->slot = slot;
	child->ops = ops;
	child->ctx = ctx;
	child->state = CHILD_BACKING_OFF;
	child->channel.fd = -1;
	handoff_init(&child->handoff);
	ev_init(&child->exit, on_exit_status);
	ev_init(&child->deadline, on_deadline);
	*ret = child;
	return 0;
}

void child_free(struct child *child)
{
	if (!child)
		return;
	if (ev_is_active(&child->exit))
		child_kill(child);
	ev_child_stop(child->loop, &child->exit);
	ev_timer_stop(child->loop, &child->deadline);
	channel_close(&child->channel);
	handoff_done(&child->handoff);
	free(child->connections);
	free(child);
}

int child_program_open(const char *path, struct child_program *ret)
{
	AUTO_CLOSE int fd = -1;
	int clear;

	if (access(path, X_OK) == -1)
		return -errno;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd == -1)
		return -errno;

	/* In the new process the channel takes its place before this is used. */
	clear = fcntl(fd, F_DUPFD_CLOEXEC, CHANNEL_FD + 1);
	if (clear == -1)
		return -errno;
	*ret = (struct child_program){.path = path, .fd = clear};
	return 0;
}

void child_program_close(struct child_program *program)
{
	close_fd(take_fd(&program->fd));
}

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL); /* what cannot be set keeps its default */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Gives up what the process may do: the user it was, and capabilities that would outlive execve().
 * Nothing that it runs may gain more. */
static int become(const struct child_program *program)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -errno;
	if (!program->user)
		return 0;
	if (initgroups(program->user, program->gid) == -1 ||
	    setresgid(program->gid, program->gid, program->gid) == -1 ||
	    setresuid(program->uid, program->uid, program->uid) == -1)
		return -errno;
	return 0;
}

/* The new process's way to its program; it returns only when there is none. */
static void execute(const struct child_program *program, int channel)
{
	static char name[] = "usher-worker";
	char *const arguments[] = {name, NULL};
	char number[16];

	reset_signals();

	/* dup2() onto itself would leave close-on-exec set. */
	if (channel == CHANNEL_FD ? fcntl(channel, F_SETFD, 0) == -1
				  : dup2(channel, CHANNEL_FD) == -1)
		return;
	snprintf(number, sizeof(number), "%d", CHANNEL_FD);
	if (setenv(IPC_CHANNEL_VARIABLE, number, 1) == -1)
		return;
	if (close_range(CHANNEL_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC) == -1)
		return;

	errno = -become(program);
	if (errno)
		return;
	execveat(program->fd, "", arguments, environ, AT_EMPTY_PATH);
	/* The interpreter of a script cannot read it from a descriptor that closes on exec. */
	if (errno == ENOENT)
		execv(program->path, arguments);
}

int child_spawn(struct child *child, unsigned int id, const struct child_program *program)
{
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int theirs = -1;
	int pair[2], error;
	pid_t pid;

	error = channel_pair(pair);
	if (error < 0)
		return error;
	ours = pair[0];
	theirs = pair[1];

	pid = fork();
	if (pid == -1)
		return -errno;
	if (pid == 0) {
		execute(program, theirs);
		log_error("worker %u: cannot execute \"%s\": %m", id, program->path);
		_exit(EX_OSERR);
	}

	child->id = id;
	child->pid = pid;
	child->started_at = ev_time();
	ev_child_set(&child->exit, pid, 0);
	ev_child_start(child->loop, &child->exit);

	error = channel_open(&child->channel, child->loop, ours, IPC_SUPERVISOR, &channel_ops,
			     child);
	if (error < 0) {
		/* Its end is told by on_exit, like every other. */
		child_kill(child);
		return 0;
	}
	take_fd(&ours);
	return 0;
}

int child_send(struct child *child, enum ipc_type type, const void *body, const void *tail,
	       size_t tail_count, const int *fds)
{
	return channel_send(&child->channel, type, body, tail, tail_count, fds);
}

void child_kill(struct child *child)
{
	/* Until it is reaped the number is its own, so no other process can be hit. */
	if (ev_is_active(&child->exit))
		kill(child->pid, SIGKILL);
}

void child_set_deadline(struct child *child, unsigned int timeout_ms)
{
	ev_timer_stop(child->loop, &child->deadline);
	if (timeout_ms == 0)
		return;
	/* Counted from now, not from when the loop last woke. */
	ev_now_update(child->loop);
	ev_timer_set(&child->deadline, timeout_ms / 1000.0, 0);
	ev_timer_start(child->loop, &child->deadline);
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
		 (int)child->pid);
	return name;
}
