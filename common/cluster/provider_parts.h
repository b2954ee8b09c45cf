/* What the modules of a provider share.
 *
 *   provider          life: who has a socket or wants one, from the listen to the close
 *   provider_ask      what a server is to listen on, as a message
 *   provider_accept   of those that accept here: whether they do, and who else watches
 *   provider_count    how many connections they have */
#ifndef USHER_COMMON_CLUSTER_PROVIDER_PARTS_H
#define USHER_COMMON_CLUSTER_PROVIDER_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/provider.h"
#include "common/net/net.h"

enum provided_state {
	PROVIDED_WAITS,
	PROVIDED_HAS,
	PROVIDED_HAD, /* the server is closed, and has connections */
};

/* A socket of a server, or the wish for one. */
struct provided {
	LIST_ENTRY(provided) link;
	struct net_server *server;
	unsigned int ticket;
	uint32_t request;
	uint32_t listener;
	int fd; /* of one that has a socket which we accept on */
	enum provided_state state;
	struct ev_loop *held; /* the loop, which is kept running for the answer; NULL: it is not */
	bool is_apart;        /* its connections come accepted */
	bool tells;           /* the supervisor wants to know their number */
	uint32_t told;        /* and knows this one */
};

static inline bool accepts_itself(const struct provided *one)
{
	return one->state == PROVIDED_HAS && !one->is_apart;
}

/* --- provider_ask ---------------------------------------------------------------------------- */

/* Sends LISTEN under that number. 0 or -errno, with nothing sent. */
int provider_ask(struct provider *provider, const struct net_listen_options *options,
		 uint32_t request);

/* Forgets what was asked for. */
void provider_end_turns(struct provider *provider);

/* --- provider_accept ------------------------------------------------------------------------- */

/* Before the socket is watched, and when it was closed. */
void provider_begin_to_share(struct provider *provider, struct provided *one, int fd);
void provider_end_sharing(struct provider *provider, struct provided *one);

/* The provider goes, and the server goes on by itself. */
void provider_leave_alone(struct provided *one);

#endif
