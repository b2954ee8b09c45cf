#include "daemon/policy.h"

#include "daemon/listener.h"

typedef struct child *policy_fn(struct listener *l, const struct child_list *children,
				const struct addr *peer);

bool policy_is_able(const struct child *c)
{
	return c->state == CHILD_READY && c->channel.fd != -1 && handoff_has_room(&c->handoff);
}

/* The next slot after the last one's, and from the highest on to the lowest. */
static struct child *round_robin(struct listener *l, const struct child_list *children,
				 const struct addr *peer)
{
	struct child *c, *next = NULL, *lowest = NULL;

	TAILQ_FOREACH (c, children, link) {
		if (!policy_is_able(c))
			continue;
		if (c->slot > l->last_slot && (!next || c->slot < next->slot))
			next = c;
		if (!lowest || c->slot < lowest->slot)
			lowest = c;
	}
	next = next ? next : lowest;
	if (next)
		l->last_slot = next->slot;
	return next;
}

static policy_fn *const policies[DISTRIBUTE_END] = {
	[DISTRIBUTE_ROUND_ROBIN] = round_robin,
};

struct child *policy_choose(struct listener *l, const struct child_list *children,
			    const struct addr *peer)
{
	return policies[l->config->distribute](l, children, peer);
}
