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

struct handoff;
struct source;
struct taker;

/* How many connections there may be is for somebody else to say, and who has them for him to know.
 */
struct source_meter {
	/* Whether one more may be accepted now; and whether this taker may be given it. */
	bool (*is_open)(const struct source *source);
	bool (*has_room)(const struct source *source, const struct taker *taker);
	/* One was accepted; one that no taker has was closed. */
	void (*accepted)(struct source *source);
	void (*closed)(struct source *source);
	/* It was reckoned whether to accept: who else watches the source may do so, too. For
	 * one that we watch that is when somebody comes who cannot be accepted. */
	void (*reckoned)(struct source *source);
	/* A taker has one now; one went elsewhere, though this taker may have it as well. */
	void (*taken)(struct source *source, struct handoff *handoff);
	void (*late)(struct source *source, struct handoff *handoff);
};

struct source {
	uint32_t id; /* never used for another one */
	int fd;
	enum policy policy; /* not POLICY_NONE */
	bool hash_port;     /* POLICY_SOURCE_HASH: clients are told apart by their port as well */
	const struct source_meter *meter; /* NULL: there may be any number */

	/* dispatch's and policy's */
	TAILQ_ENTRY(source) link;
	ev_io acceptor;
	bool watched;           /* libev may have stopped the acceptor though */
	unsigned int last_rank; /* whose turn it was */
};

TAILQ_HEAD(source_list, source);

#endif
