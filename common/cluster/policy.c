#include "common/cluster/policy.h"

#include "common/cluster/source.h"

typedef struct taker *policy_fn(struct source *s, const struct taker_list *takers,
				const struct addr *peer);

bool policy_is_able(const struct source *s, const struct taker *t)
{
	return taker_is_able(t) && taker_has_joined(t, s->id) &&
	       (!s->meter || s->meter->has_room(s, t));
}

/* How far a rank is from having its turn: the next one after the last has it first. */
static unsigned int distance(const struct source *s, const struct taker *t)
{
	return t->rank - s->last_rank - 1; /* wraps around, and so do the turns */
}

static struct taker *round_robin(struct source *s, const struct taker_list *takers,
				 const struct addr *peer)
{
	struct taker *t, *best = NULL;

	TAILQ_FOREACH (t, takers, link)
		if ((!best || distance(s, t) < distance(s, best)) && policy_is_able(s, t))
			best = t;
	if (best)
		s->last_rank = best->rank;
	return best;
}

/* In turn among those that have equally few. */
static struct taker *least_connections(struct source *s, const struct taker_list *takers,
				       const struct addr *peer)
{
	struct taker *t, *best = NULL;
	uint32_t load, least = 0;

	TAILQ_FOREACH (t, takers, link) {
		load = taker_load(t, s->id);
		if (best &&
		    (load > least || (load == least && distance(s, t) >= distance(s, best))))
			continue;
		if (!policy_is_able(s, t))
			continue;
		best = t;
		least = load;
	}
	if (best)
		s->last_rank = best->rank;
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

/* Each rank draws a lot for the client, and the highest wins: without that taker its clients alone
 * go elsewhere. */
static struct taker *source_hash(struct source *s, const struct taker_list *takers,
				 const struct addr *peer)
{
	uint64_t client = hash_client(peer, s->hash_port);
	uint64_t lot, highest = 0;
	struct taker *t, *best = NULL;

	TAILQ_FOREACH (t, takers, link) {
		lot = mix(client ^ mix(t->rank));
		if ((!best || lot > highest) && policy_is_able(s, t)) {
			best = t;
			highest = lot;
		}
	}
	return best;
}

static policy_fn *const policies[POLICY_END] = {
	[POLICY_ROUND_ROBIN] = round_robin,
	[POLICY_LEAST_CONNECTIONS] = least_connections,
	[POLICY_SOURCE_HASH] = source_hash,
};

struct taker *policy_choose(struct source *s, const struct taker_list *takers,
			    const struct addr *peer)
{
	return policies[s->policy](s, takers, peer);
}
