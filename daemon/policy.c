#include "daemon/policy.h"

#include "daemon/listener.h"

typedef struct child *policy_fn(struct listener *l, const struct child_list *children,
				const struct addr *peer);

bool policy_is_able(const struct child *c)
{
	return c->state == CHILD_READY && c->channel.fd != -1 && handoff_has_room(&c->handoff);
}

/* How far a slot is from having its turn: the next one after the last has it first. */
static unsigned int distance(const struct listener *l, const struct child *c)
{
	return c->slot > l->last_slot ? c->slot - l->last_slot
				      : c->slot + CONFIG_WORKERS_MAX - l->last_slot;
}

static struct child *round_robin(struct listener *l, const struct child_list *children,
				 const struct addr *peer)
{
	struct child *c, *best = NULL;

	TAILQ_FOREACH (c, children, link)
		if (policy_is_able(c) && (!best || distance(l, c) < distance(l, best)))
			best = c;
	if (best)
		l->last_slot = best->slot;
	return best;
}

/* What it said it has, and what it was handed since. */
static uint32_t load_of(const struct listener *l, const struct child *c)
{
	return c->connections[l->id] + handoff_unanswered(&c->handoff);
}

/* In turn among those that have equally few. */
static struct child *least_connections(struct listener *l, const struct child_list *children,
				       const struct addr *peer)
{
	struct child *c, *best = NULL;

	TAILQ_FOREACH (c, children, link) {
		if (!policy_is_able(c))
			continue;
		if (!best || load_of(l, c) < load_of(l, best) ||
		    (load_of(l, c) == load_of(l, best) && distance(l, c) < distance(l, best)))
			best = c;
	}
	if (best)
		l->last_slot = best->slot;
	return best;
}

static policy_fn *const policies[DISTRIBUTE_END] = {
	[DISTRIBUTE_ROUND_ROBIN] = round_robin,
	[DISTRIBUTE_LEAST_CONNECTIONS] = least_connections,
};

struct child *policy_choose(struct listener *l, const struct child_list *children,
			    const struct addr *peer)
{
	return policies[l->config->distribute](l, children, peer);
}
