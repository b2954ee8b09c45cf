#include "common/cluster/cluster_member.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/cluster/cluster_impl.h"
#include "common/macros.h"

/* From SIGTERM, which comes too late, to SIGKILL, unless a shorter time was asked for. */
#define KILL_TIMEOUT_MS 5000

static struct member *member_of(struct cluster_worker *worker)
{
	return CONTAINER_OF(worker, struct member, worker);
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_fork_turn(struct defer *call)
{
	struct member *m = CONTAINER_OF(call, struct member, fork_call);

	cluster_worker_enter(&m->worker);
	if (m->cluster)
		member_tell(m, m->cluster->ops->on_fork);
	cluster_worker_release(&m->worker);
	cluster_worker_leave(&m->worker);
}

static void tell_message(struct cluster_worker *worker, const struct cluster_message *message)
{
	struct member *m = member_of(worker);
	struct cluster *c = m->cluster;

	c->ops->on_message(c, worker, message, c->ctx);
}

static void tell_lost_message(struct cluster_worker *worker, int code)
{
	struct member *m = member_of(worker);

	if (m->cluster)
		member_tell_error(m, code, NULL, NULL);
}

/* --- the end --------------------------------------------------------------------------------- */

static bool has_ended(const struct member *m)
{
	return m->disconnected && m->exited;
}

/* A cluster that was freed meanwhile has let it go. */
static void on_end_turn(struct defer *call)
{
	struct member *m = CONTAINER_OF(call, struct member, end_call);

	if (m->cluster) {
		TAILQ_REMOVE(&m->cluster->members, m, link);
		m->cluster = NULL;
		cluster_worker_release(&m->worker);
	}
	cluster_worker_release(&m->worker);
}

/* Both have been told. The completions of what was never sent have their turns before this one, and
 * until then the cluster knows of it: none may come once that is freed. */
static void after_event(struct member *m)
{
	if (!m->cluster || !has_ended(m) || defer_waits(&m->end_call))
		return;
	cluster_worker_hold(&m->worker);
	defer_call(&m->worker.context->calls, &m->end_call, on_end_turn);
}

static void disconnected(struct member *m)
{
	struct cluster *c = m->cluster;

	if (m->disconnected)
		return;
	m->disconnected = true;
	m->worker.connected = false;
	cluster_worker_close_mail(&m->worker);
	member_let_go(m);
	if (has_ended(m))
		m->listed = false;
	cluster_disconnected(c);
	member_tell(m, c->ops->on_disconnect);
	after_event(m);
}

static void exited(struct member *m)
{
	m->exited = true;
	m->worker.dead = true;
	m->worker.connected = false;
	member_let_go(m);
	if (has_ended(m))
		m->listed = false;
	member_tell_exit(m);
	after_event(m);
}

/* What breaks the rules is not listened to any more. */
static void cut_off(struct member *m, int error, const char *why)
{
	channel_close(&m->process.channel);
	process_kill(&m->process);
	member_tell_error(m, error, NULL, why);
	if (m->cluster)
		disconnected(m);
}

/* --- disconnecting --------------------------------------------------------------------------- */

/* All that was sent before is on its way: now it is told. */
static void on_flushed(struct mail *mail, int status, void *ctx)
{
	struct member *m = member_of(ctx);

	const struct ipc_disconnect body = {.timeout_ms = m->timeout_ms};
	int error = process_send(&m->process, IPC_DISCONNECT, &body, NULL, 0, NULL);

	/* Who cannot be told is ended as if it had not listened. */
	if (error < 0 && error != -EPIPE)
		process_signal(&m->process, SIGTERM);
}

int member_disconnect(struct member *m)
{
	if (m->leaving || !m->worker.connected)
		return NET_ERR_IPC_DISCONNECTED;
	m->leaving = true;
	m->worker.voluntary = true;
	m->worker.connected = false;
	m->listed = false;
	shares_disconnect(&m->holder);
	process_set_deadline(&m->process, m->timeout_ms);
	return mail_end(m->worker.mail, on_flushed, &m->worker);
}

static void on_deadline(struct process *process, void *ctx)
{
	struct member *m = ctx;

	if (m->terminated) {
		process_kill(process);
		return;
	}
	m->terminated = true;
	process_signal(process, SIGTERM);
	process_set_deadline(process,
			     m->timeout_ms < KILL_TIMEOUT_MS ? m->timeout_ms : KILL_TIMEOUT_MS);
}

/* --- what the process tells ------------------------------------------------------------------ */

static int greet(struct member *m, const struct ipc_hello *hello)
{
	int error;

	if (m->greeted || hello->version != IPC_VERSION)
		return -EPROTO;
	m->greeted = true;
	error = member_join(m);
	if (error < 0)
		return error;
	member_tell(m, m->cluster->ops->on_online);
	return 0;
}

/* --- messages -------------------------------------------------------------------------------- */

static int take_message(struct member *m, struct ipc_message *message, const char **ret_why)
{
	*ret_why = "a message out of order";
	if (message->type == IPC_HELLO)
		return greet(m, message->body);
	if (!m->greeted)
		return -EPROTO;
	/* It wants to go, and waits for the word, which it may be about to get. */
	if (message->type == IPC_LEAVING) {
		member_disconnect(m);
		return 0;
	}
	if (mail_is_ours(message->type))
		return mail_take(m->worker.mail, message, ret_why);
	return member_take_listen(m, message);
}

static void on_message(struct process *process, struct ipc_message *message, void *ctx)
{
	struct member *m = ctx;
	const char *why;
	int error;

	cluster_worker_enter(&m->worker);
	error = take_message(m, message, &why);
	if (error < 0 && m->cluster)
		cut_off(m, error, why);
	cluster_worker_leave(&m->worker);
}

static void on_failed(struct process *process, enum ipc_step step, int error, void *ctx)
{
	static const char *const calls[IPC_STEP_END] = {
		[IPC_STEP_DESCRIPTORS] = "dup2",
		[IPC_STEP_USER] = "setuid",
		[IPC_STEP_FOLDER] = "chdir",
		[IPC_STEP_EXECUTE] = "execve",
	};
	struct member *m = ctx;

	cluster_worker_enter(&m->worker);
	member_tell_error(m, error, calls[step], step == IPC_STEP_FOLDER ? m->cwd : m->path);
	if (m->cluster)
		disconnected(m);
	cluster_worker_leave(&m->worker);
}

static void on_lost(struct process *process, int error, const char *why, void *ctx)
{
	struct member *m = ctx;

	cluster_worker_enter(&m->worker);
	channel_close(&process->channel);
	if (error < 0)
		cut_off(m, error, why);
	else
		disconnected(m);
	cluster_worker_leave(&m->worker);
}

/* Somebody else may have the channel's other end still: nobody waits for it. */
static void on_exit_status(struct process *process, void *ctx)
{
	struct member *m = ctx;

	cluster_worker_enter(&m->worker);
	/* Its last words may have had the cluster freed. */
	if (m->cluster)
		exited(m);
	if (m->cluster)
		disconnected(m);
	cluster_worker_leave(&m->worker);
}

static const struct process_ops process_ops = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};

/* --- its life -------------------------------------------------------------------------------- */

static int refuse_ops(struct cluster_worker *worker, const struct cluster_worker_ops *ops,
		      void *ctx)
{
	return -EINVAL;
}

static int disconnect_it(struct cluster_worker *worker)
{
	return member_disconnect(member_of(worker));
}

static int signal_it(struct cluster_worker *worker, int number)
{
	return process_signal(&member_of(worker)->process, number);
}

static void free_it(struct cluster_worker *worker)
{
	struct member *m = member_of(worker);

	cluster_worker_done(worker);
	process_close(&m->process);
	taker_done(&m->taker);
	free(m->path);
	free(m->cwd);
	free(m);
}

static const struct cluster_worker_end master_end = {
	.set_ops = refuse_ops,
	.disconnect = disconnect_it,
	.kill = signal_it,
	.free = free_it,
	.tell_message = tell_message,
	.tell_error = tell_lost_message,
};

static int spawn(struct member *m, const struct cluster_setup *setup, const char *const *env)
{
	AUTO_FREE const char **environment = NULL;
	struct program program = setup->program;
	int error = cluster_setup_environment(setup, env, m->worker.id, &environment);

	m->path = strdup(program.path);
	m->cwd = program.cwd ? strdup(program.cwd) : NULL;
	if (!m->path || (program.cwd && !m->cwd))
		error = -ENOMEM;
	if (error < 0)
		return error;
	program.env = environment;
	error = process_spawn(&m->process, &program);
	if (error < 0)
		return error;
	error = cluster_worker_open_mail(&m->worker, &m->process.channel);
	if (error < 0)
		process_kill(&m->process);
	return error;
}

int member_fork(struct cluster *c, struct net_context *context, const struct cluster_setup *setup,
		const char *const *env, unsigned id, struct member **ret)
{
	struct member *m = calloc(1, sizeof(*m));
	int error;

	if (!m)
		return -ENOMEM;
	context_hold(context);
	cluster_worker_init(&m->worker, &master_end, context);
	process_init(&m->process, c->loop, &process_ops, m);
	m->cluster = c;
	m->timeout_ms = setup->disconnect_timeout_ms;
	m->worker.id = id;
	member_init_shares(m);
	error = spawn(m, setup, env);
	if (error < 0) {
		cluster_worker_release(&m->worker);
		return error;
	}

	m->worker.pid = m->process.pid;
	m->worker.connected = true;
	mail_receive(m->worker.mail, c->ops->on_message);
	m->listed = true;
	member_add_taker(m);
	cluster_worker_hold(&m->worker);
	defer_call(&context->calls, &m->fork_call, on_fork_turn);
	*ret = m;
	return 0;
}

void member_orphan(struct member *m)
{
	member_let_go(m);
	m->cluster = NULL;
	m->worker.connected = false;
	m->listed = false;
	cluster_worker_free_mail(&m->worker);
	process_close(&m->process);
	cluster_worker_release(&m->worker);
}
