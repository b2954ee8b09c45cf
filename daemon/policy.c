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

/* --- by client ------------------------------------------------------------------------------- */

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* FNV-1a: fine for telling apart, but its upper bits say little about short keys: see mix(). */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ byte[i]) * FNV_PRIME;
	return hash;
}

/* The last step of SplitMix64: every bit of the result hangs on every bit of the number. */
static uint64_t mix(uint64_t number)
{
	number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
	return number ^ number >> 31;
}

/* What tells clients apart: the address, an IPv4 one alike on every listener, and maybe the port.
 */
static uint64_t hash_client(const struct addr *peer, bool with_port)
{
	uint64_t hash = FNV_START;

	if (peer->sa.sa_family == AF_INET)
		hash = hash_bytes(hash, &peer->in.sin_addr, 4);
	else if (peer->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer->in6.sin6_addr))
		hash = hash_bytes(hash, &peer->in6.sin6_addr.s6_addr[12], 4);
	else if (peer->sa.sa_family == AF_INET6)
		hash = hash_bytes(hash, &peer->in6.sin6_addr, 16);
	if (with_port) {
		uint16_t port = addr_port(peer);

		hash = hash_bytes(hash, &port, sizeof(port));
	}
	return hash;
}

/* Each slot draws a lot for the client, and the highest wins: without that slot its clients alone
 * go elsewhere. */
static struct child *source_hash(struct listener *l, const struct child_list *children,
				 const struct addr *peer)
{
	uint64_t client = hash_client(peer, l->config->hash_port);
	uint64_t lot, highest = 0;
	struct child *c, *best = NULL;

	TAILQ_FOREACH (c, children, link) {
		if (!policy_is_able(c))
			continue;
		lot = mix(client ^ mix(c->slot));
		if (!best || lot > highest) {
			best = c;
			highest = lot;
		}
	}
	return best;
}

static policy_fn *const policies[DISTRIBUTE_END] = {
	[DISTRIBUTE_ROUND_ROBIN] = round_robin,
	[DISTRIBUTE_LEAST_CONNECTIONS] = least_connections,
	[DISTRIBUTE_SOURCE_HASH] = source_hash,
};

struct child *policy_choose(struct listener *l, const struct child_list *children,
			    const struct addr *peer)
{
	return policies[l->config->distribute](l, children, peer);
}
