#include "common/cluster/cluster_member.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/cluster/cluster_impl.h"
#include "common/macros.h"

/* From SIGTERM, which comes too late, to SIGKILL, unless a shorter time was asked for. */
#define KILL_TIMEOUT_MS 5000

#define ERROR_SIZE 4096 /* of a text with a path */

static struct member *member_of(struct cluster_worker *worker)
{
	return CONTAINER_OF(worker, struct member, worker);
}

/* --- events ---------------------------------------------------------------------------------- */

typedef void event_fn(struct cluster *cluster, struct cluster_worker *worker, void *ctx);

static void tell(struct member *m, event_fn *fn)
{
	if (fn)
		fn(m->cluster, &m->worker, m->cluster->ctx);
}

static void tell_error(struct member *m, int code, const char *syscall_name, const char *what)
{
	struct cluster *c = m->cluster;
	struct net_error error;
	char text[ERROR_SIZE];

	if (!c->ops->on_error)
		return;
	cluster_worker_error(code, syscall_name, what, text, sizeof(text), &error);
	c->ops->on_error(c, &m->worker, &error, c->ctx);
}

static void tell_exit(struct member *m)
{
	struct cluster *c = m->cluster;
	int status = m->process.status;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (c->ops->on_exit)
		c->ops->on_exit(c, &m->worker, code, number, c->ctx);
}

static void on_fork_turn(struct defer *call)
{
	struct member *m = CONTAINER_OF(call, struct member, fork_call);

	cluster_worker_enter(&m->worker);
	if (m->cluster)
		tell(m, m->cluster->ops->on_fork);
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
		tell_error(m, code, NULL, NULL);
}

/* --- the end --------------------------------------------------------------------------------- */

static void unlist(struct member *m)
{
	m->listed = false;
}

static bool has_ended(const struct member *m)
{
	return m->disconnected && m->exited;
}

/* Both have happened: it is forgotten before the last of them is told. */
static void forget(struct member *m)
{
	unlist(m);
	TAILQ_REMOVE(&m->cluster->members, m, link);
}

static void after_event(struct member *m)
{
	if (m->cluster && has_ended(m)) {
		m->cluster = NULL;
		cluster_worker_release(&m->worker);
	}
}

static void disconnected(struct member *m)
{
	struct cluster *c = m->cluster;

	if (m->disconnected)
		return;
	m->disconnected = true;
	m->worker.connected = false;
	cluster_worker_close_mail(&m->worker);
	shares_end(&m->holder);
	if (has_ended(m))
		forget(m);
	cluster_disconnected(c);
	tell(m, c->ops->on_disconnect);
	after_event(m);
}

static void exited(struct member *m)
{
	m->exited = true;
	m->worker.dead = true;
	m->worker.connected = false;
	shares_end(&m->holder);
	if (has_ended(m))
		forget(m);
	tell_exit(m);
	after_event(m);
}

/* What breaks the rules is not listened to any more. */
static void cut_off(struct member *m, int error, const char *why)
{
	channel_close(&m->process.channel);
	process_kill(&m->process);
	tell_error(m, error, NULL, why);
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
	unlist(m);
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
	if (m->greeted || hello->version != IPC_VERSION)
		return -EPROTO;
	m->greeted = true;
	tell(m, m->cluster->ops->on_online);
	return 0;
}

/* --- what it listens on ---------------------------------------------------------------------- */

/* Who is the master's user may listen where the master may. */
static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	return SHARE_BY_ANYBODY;
}

/* The worker's server is told. */
static void on_refused(struct holder *holder, const struct share_request *request, int error,
		       void *ctx)
{
}

static void on_difference(struct holder *holder, const struct share_request *request,
			  const char *option, void *ctx)
{
}

static void on_listening(struct holder *holder, const struct share *share, void *ctx)
{
	CONTAINER_OF(holder, struct member, holder)->news = share;
}

/* Its end is told like any other. */
static void on_unreachable(struct holder *holder, int error, void *ctx)
{
	process_kill(&CONTAINER_OF(holder, struct member, holder)->process);
}

const struct shares_ops cluster_shares_ops = {
	.permit = permit,
	.on_refused = on_refused,
	.on_difference = on_difference,
	.on_listening = on_listening,
	.on_unreachable = on_unreachable,
};

/* No call of shares' is under way any more. */
static void tell_listening(struct member *m)
{
	const struct share *share = m->news;
	struct cluster *c = m->cluster;
	struct cluster_listening listening = {.fd = share->bound.fd};
	char address[SHARE_TEXT_SIZE];

	m->news = NULL;
	if (!c->ops->on_listening)
		return;
	if (share->request.text) {
		snprintf(address, sizeof(address), "%s", share->request.text);
		listening.address = address;
	}
	listening.address_type = addr_family(&share->bound.addr);
	if (listening.address_type == 0)
		listening.address_type = -1;
	else
		listening.port = addr_port(&share->bound.addr);
	c->ops->on_listening(c, &m->worker, &listening, c->ctx);
}

static int take_listen(struct member *m, const struct ipc_message *message)
{
	int error = -EPROTO;

	if (message->type == IPC_LISTEN)
		error = shares_listen(&m->holder, message);
	else if (message->type == IPC_SERVING)
		error = shares_serving(&m->holder, message);
	else if (message->type == IPC_UNLISTEN)
		error = shares_unlisten(&m->holder, message);
	if (error == 0 && m->news)
		tell_listening(m);
	return error;
}

/* --- messages -------------------------------------------------------------------------------- */

/* It wants to go, and waits for the word. */
static int let_go(struct member *m)
{
	member_disconnect(m);
	return 0;
}

static int take_message(struct member *m, struct ipc_message *message, const char **ret_why)
{
	*ret_why = "a message out of order";
	if (message->type == IPC_HELLO)
		return greet(m, message->body);
	if (!m->greeted)
		return -EPROTO;
	if (message->type == IPC_LEAVING)
		return let_go(m);
	if (mail_is_ours(message->type))
		return mail_take(m->worker.mail, message, ret_why);
	return take_listen(m, message);
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
	tell_error(m, error, calls[step], step == IPC_STEP_FOLDER ? m->cwd : m->path);
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
	holder_init(&m->holder, &c->shares, &m->process.channel, NULL);
	error = spawn(m, setup, env);
	if (error < 0) {
		cluster_worker_release(&m->worker);
		return error;
	}

	m->worker.pid = m->process.pid;
	m->worker.connected = true;
	mail_receive(m->worker.mail, c->ops->on_message);
	m->listed = true;
	cluster_worker_hold(&m->worker);
	defer_call(&context->calls, &m->fork_call, on_fork_turn);
	*ret = m;
	return 0;
}

void member_orphan(struct member *m)
{
	m->cluster = NULL;
	m->worker.connected = false;
	unlist(m);
	shares_end(&m->holder);
	cluster_worker_free_mail(&m->worker);
	process_close(&m->process);
	cluster_worker_release(&m->worker);
}
