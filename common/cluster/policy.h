/* Which taker gets a connection: one function for each way to choose.
 *
 * Owns:   nothing; a source remembers whose turn it was.
 * Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", for choosing
 * by the highest lot; the hash is FNV-1a, made even by the last step of SplitMix64. */
#ifndef USHER_COMMON_CLUSTER_POLICY_H
#define USHER_COMMON_CLUSTER_POLICY_H

#include <stdbool.h>

#include "common/cluster/taker.h"
#include "common/net/addr.h"

struct source;

enum policy {
	POLICY_NONE, /* nobody chooses: whoever accepts has it */
	POLICY_ROUND_ROBIN,
	POLICY_LEAST_CONNECTIONS,
	POLICY_SOURCE_HASH,
	POLICY_END
};

/* Whether a taker can be given a connection of the source. */
bool policy_is_able(const struct source *source, const struct taker *taker);

/* The taker for a connection of peer; NULL when none is able. */
struct taker *policy_choose(struct source *source, const struct taker_list *takers,
			    const struct addr *peer);

#endif
