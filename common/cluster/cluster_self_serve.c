/* The servers of a worker, which listen at its master's. */
#include <errno.h>

#include "common/cluster/cluster_self.h"

static void on_idle(void *ctx)
{
	struct self *s = ctx;

	if (s->state == SELF_DRAINING)
		self_finish(s);
}

/* It may be inside a call of the user's. */
static void on_failed(int error, void *ctx)
{
	self_set_deadline(ctx, 0);
}

static const struct provider_ops provider_ops = {.on_idle = on_idle, .on_failed = on_failed};

/* None has a tally. */
static struct net_server *server_of(uint32_t listener, uint32_t *ret_tally, void *ctx)
{
	const struct self *s = ctx;

	return provider_server(&s->provider, listener);
}

static size_t news(struct ipc_counted_row *rows, size_t room, void *ctx)
{
	struct self *s = ctx;

	return provider_news(&s->provider, rows, room);
}

static const struct intake_ops intake_ops = {
	.server_of = server_of,
	.news = news,
	.on_failed = on_failed,
};

int self_take_listen(struct self *s, struct ipc_message *message)
{
	if (message->type == IPC_LISTENED)
		return provider_listened(&s->provider, message);
	if (message->type == IPC_LISTENED_APART)
		return provider_listened_apart(&s->provider, message);
	if (message->type == IPC_CLAIMS)
		return intake_claims(&s->intake, message);
	if (message->type == IPC_HANDOFF)
		return intake_handoff(&s->intake, message);
	if (message->type == IPC_NOT_LISTENED)
		return provider_refused(&s->provider, message);
	return -EPROTO;
}

int self_open_servers(struct self *s)
{
	int error = provider_init(&s->provider, s->loop, &s->channel, &s->intake, &provider_ops, s);

	s->provides = error == 0;
	if (error == 0)
		intake_init(&s->intake, &s->channel, s->worker.context, &intake_ops, s);
	return error;
}

void self_close_servers(struct self *s)
{
	intake_done(&s->intake);
	if (s->provides)
		provider_done(&s->provider);
}
