/* A listening socket on which we accept, to hand each connection to a taker.
 *
 * Owns:   nothing: the descriptor is that of whoever embeds this. Between dispatch_add_source() and
 *         dispatch_remove_source() it must neither move nor close. */
#ifndef USHER_COMMON_CLUSTER_SOURCE_H
#define USHER_COMMON_CLUSTER_SOURCE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/policy.h"

struct source {
	uint32_t id; /* never used for another one */
	int fd;
	enum policy policy; /* not POLICY_NONE */
	bool hash_port;     /* POLICY_SOURCE_HASH: clients are told apart by their port as well */

	/* dispatch's and policy's */
	TAILQ_ENTRY(source) link;
	ev_io acceptor;
	unsigned int last_rank; /* whose turn it was */
};

TAILQ_HEAD(source_list, source);

#endif
