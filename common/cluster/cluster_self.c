#include "common/cluster/cluster_self.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/cluster/cluster_settings.h"
#include "common/cluster/orphan.h"
#include "common/macros.h"
#include "common/number.h"

/* What the master has to answer. */
#define ANSWER_TIMEOUT_MS 5000

#define ERROR_SIZE 256

/* There is one channel in a process, and so one of these. */
static bool is_open;

static struct self *self_of(struct cluster_worker *worker)
{
	return CONTAINER_OF(worker, struct self, worker);
}

/* --- the end --------------------------------------------------------------------------------- */

void self_set_deadline(struct self *s, unsigned timeout_ms)
{
	ev_timer_stop(s->loop, &s->deadline);
	ev_now_update(s->loop);
	ev_timer_set(&s->deadline, timeout_ms / 1000.0, 0);
	ev_timer_start(s->loop, &s->deadline);
}

static void tell_error(struct self *s, int code, const char *why)
{
	struct net_error error;
	char text[ERROR_SIZE];

	if (!s->ops->on_error)
		return;
	cluster_worker_error(code, NULL, why, text, sizeof(text), &error);
	s->ops->on_error(&s->worker, &error, s->ctx);
}

/* From the loop. A process without a master goes, unless it was let go before. What came for its
 * servers they get first: the worker is there until this ends, but perhaps not for longer. */
static void close_now(struct self *s)
{
	if (s->state == SELF_CLOSED)
		return;
	s->state = SELF_CLOSING;
	s->worker.connected = false;
	if (s->worker.voluntary && !s->exits)
		intake_end(&s->intake);
	s->state = SELF_CLOSED;
	ev_timer_stop(s->loop, &s->deadline);
	cluster_worker_close_mail(&s->worker);
	channel_close(&s->channel);
	provider_lost(&s->provider);
	if (s->worker.voluntary && !s->exits)
		orphan_forgive();
	if (s->ops->on_disconnect)
		s->ops->on_disconnect(&s->worker, s->ctx);
	if (!s->worker.voluntary || s->exits)
		exit(EXIT_SUCCESS);
	cluster_worker_release(&s->worker);
}

/* All that was sent is on its way. */
static void on_flushed(struct mail *mail, int status, void *ctx)
{
	struct self *s = self_of(ctx);

	cluster_worker_enter(&s->worker);
	close_now(s);
	cluster_worker_leave(&s->worker);
}

void self_finish(struct self *s)
{
	if (s->state >= SELF_CLOSING)
		return;
	s->state = SELF_CLOSING;
	s->worker.connected = false;
	mail_end(s->worker.mail, on_flushed, &s->worker);
}

static void drain(struct self *s, unsigned timeout_ms)
{
	if (s->state >= SELF_DRAINING)
		return;
	s->worker.voluntary = true;
	s->state = SELF_DRAINING;
	self_set_deadline(s, timeout_ms);
	intake_end(&s->intake);
	/* Who kills itself awaits nobody. */
	if (!s->exits)
		provider_disconnect(&s->provider, true);
	if (s->exits || provider_is_idle(&s->provider))
		self_finish(s);
}

/* The master does not answer, a connection does not end, or the channel takes nothing. */
static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct self *s = CONTAINER_OF(timer, struct self, deadline);

	cluster_worker_enter(&s->worker);
	if (s->state == SELF_ASKED)
		drain(s, ANSWER_TIMEOUT_MS);
	else
		close_now(s);
	cluster_worker_leave(&s->worker);
}

/* --- the channel ----------------------------------------------------------------------------- */

static int take_message(struct self *s, struct ipc_message *message, const char **ret_why)
{
	const struct ipc_disconnect *body = message->body;

	*ret_why = "a message that has no meaning here";
	if (mail_is_ours(message->type))
		return mail_take(s->worker.mail, message, ret_why);
	if (message->type != IPC_DISCONNECT)
		return self_take_listen(s, message);
	drain(s, body->timeout_ms);
	return 0;
}

static void lose(struct self *s, int error, const char *why)
{
	if (error < 0)
		tell_error(s, error, why);
	close_now(s);
}

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct self *s = ctx;
	const char *why;
	int error;

	cluster_worker_enter(&s->worker);
	error = take_message(s, message, &why);
	if (error < 0 && s->state != SELF_CLOSED)
		lose(s, error, why);
	cluster_worker_leave(&s->worker);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct self *s = ctx;

	cluster_worker_enter(&s->worker);
	lose(s, error, why);
	cluster_worker_leave(&s->worker);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

/* --- what a user asks ------------------------------------------------------------------------ */

static int set_ops(struct cluster_worker *worker, const struct cluster_worker_ops *ops, void *ctx)
{
	static const struct cluster_worker_ops none;
	struct self *s = self_of(worker);

	s->ops = ops ? ops : &none;
	s->ctx = ctx;
	if (worker->mail)
		mail_receive(worker->mail, s->ops->on_message);
	return 0;
}

/* The master lets go of what is shared first, so that nobody is sent here any more. */
static int ask(struct self *s)
{
	int error = channel_tell(&s->channel, IPC_LEAVING, NULL, NULL, 0, NULL);

	s->worker.voluntary = true;
	s->state = SELF_ASKED;
	self_set_deadline(s, ANSWER_TIMEOUT_MS);
	return error;
}

static int disconnect_self(struct cluster_worker *worker)
{
	struct self *s = self_of(worker);

	return s->state == SELF_OPEN ? ask(s) : NET_ERR_IPC_DISCONNECTED;
}

static int kill_self(struct cluster_worker *worker, int signal)
{
	struct self *s = self_of(worker);

	s->exits = true;
	if (s->state == SELF_OPEN)
		return ask(s);
	if (s->state == SELF_DRAINING)
		self_finish(s);
	if (s->state == SELF_CLOSED)
		exit(EXIT_SUCCESS);
	return 0;
}

static void tell_message(struct cluster_worker *worker, const struct cluster_message *message)
{
	struct self *s = self_of(worker);

	s->ops->on_message(worker, message, s->ctx);
}

static void tell_lost_message(struct cluster_worker *worker, int code)
{
	tell_error(self_of(worker), code, NULL);
}

static void free_self(struct cluster_worker *worker)
{
	struct self *s = self_of(worker);

	ev_timer_stop(s->loop, &s->deadline);
	self_close_servers(s);
	cluster_worker_done(worker);
	channel_close(&s->channel);
	free(s);
}

static const struct cluster_worker_end own_end = {
	.set_ops = set_ops,
	.disconnect = disconnect_self,
	.kill = kill_self,
	.free = free_self,
	.tell_message = tell_message,
	.tell_error = tell_lost_message,
};

/* --- its beginning --------------------------------------------------------------------------- */

bool cluster_is_worker(void)
{
	return is_open || getenv(CLUSTER_ID_VARIABLE);
}

bool cluster_is_master(void)
{
	return !cluster_is_worker();
}

/* The number in an environment variable; -1: there is none. */
static int64_t variable(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	uint64_t number;

	return text && number_parse(text, max, &number) == 0 ? (int64_t)number : -1;
}

/* From now on no process that this one starts is a worker of the master's. */
static int take_channel(int *ret_fd, unsigned *ret_id)
{
	int64_t fd = variable(IPC_CHANNEL_VARIABLE, INT_MAX);
	int64_t id = variable(CLUSTER_ID_VARIABLE, UINT_MAX);

	if (fd < 0 || id < 1)
		return -ENOTCONN;
	if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) == -1 || fcntl((int)fd, F_SETFL, O_NONBLOCK) == -1)
		return -errno;
	unsetenv(IPC_CHANNEL_VARIABLE);
	unsetenv(CLUSTER_ID_VARIABLE);
	*ret_fd = (int)fd;
	*ret_id = (unsigned)id;
	return 0;
}

static int greet(struct self *s)
{
	const struct ipc_hello hello = {.version = IPC_VERSION};

	return channel_tell(&s->channel, IPC_HELLO, &hello, NULL, 0, NULL);
}

static int self_new(struct ev_loop *loop, struct self **ret)
{
	struct self *s = calloc(1, sizeof(*s));
	struct net_context *context;
	int error;

	if (!s)
		return -ENOMEM;
	error = context_get(loop, &context);
	if (error < 0) {
		free(s);
		return error;
	}
	cluster_worker_init(&s->worker, &own_end, context);
	s->loop = loop;
	s->channel.fd = -1;
	ev_init(&s->deadline, on_deadline);
	*ret = s;
	return 0;
}

int cluster_worker_open(struct ev_loop *loop, const struct cluster_worker_ops *ops, void *ctx,
			struct cluster_worker **ret)
{
	struct self *s;
	int error, fd = -1;

	if (is_open)
		return -EALREADY;
	error = self_new(loop, &s);
	if (error < 0)
		return error;
	error = take_channel(&fd, &s->worker.id);
	if (error == 0)
		error = channel_open(&s->channel, loop, fd, IPC_WORKER, &channel_ops, s);
	if (error == 0)
		error = cluster_worker_open_mail(&s->worker, &s->channel);
	if (error == 0)
		error = self_open_servers(s);
	if (error == 0)
		error = orphan_watch();
	if (error == 0)
		error = greet(s);
	if (error < 0) {
		cluster_worker_release(&s->worker);
		return error;
	}
	is_open = true;
	set_ops(&s->worker, ops, ctx);
	s->worker.pid = getpid();
	s->worker.connected = true;
	*ret = &s->worker;
	return 0;
}
