/* Servers that accept here, on sockets that others may watch, too. */
#include "common/cluster/provider_parts.h"
#include "common/net/server.h"

static bool may_accept(void *ctx)
{
	const struct provider *p = ctx;

	return !p->rests;
}

static const struct server_gate gate = {.is_open = may_accept};

void provider_rest(struct provider *p)
{
	struct provided *one;

	p->rests = true;
	/* With the gate shut it takes nothing, and no longer watches. */
	LIST_FOREACH (one, &p->list, link)
		if (accepts_itself(one)) {
			server_accept_now(one->server);
			if (p->ops->on_parked)
				p->ops->on_parked(one->fd);
		}
}

void provider_resume(struct provider *p)
{
	struct provided *one;

	p->rests = false;
	LIST_FOREACH (one, &p->list, link)
		if (accepts_itself(one))
			server_unpark(one->server);
}

void provider_nudge(struct provider *p, uint32_t listener)
{
	struct provided *one;

	LIST_FOREACH (one, &p->list, link)
		if (one->listener == listener && accepts_itself(one)) {
			server_accept_now(one->server);
			return;
		}
}

void provider_begin_to_share(struct provider *p, struct provided *one, int fd)
{
	one->fd = fd;
	server_set_gate(one->server, &gate, p);
	if (p->ops->on_shared)
		p->ops->on_shared(one->server, fd, p->ctx);
}

/* It may listen next by itself. */
void provider_end_sharing(struct provider *p, struct provided *one)
{
	server_set_gate(one->server, NULL, NULL);
	if (p->ops->on_unshared)
		p->ops->on_unshared(one->server, one->fd);
}

void provider_leave_alone(struct provided *one)
{
	server_set_gate(one->server, NULL, NULL);
	server_unpark(one->server);
}
