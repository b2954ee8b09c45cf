/* A socket that workers share, and who has it.
 *
 * Owns:   a share owns its request, its lookup, its socket and the file of a path; holds belong to
 *         both their share and their holder.
 * Errors: 0 or -errno.
 * Order:  share_tidy() follows each change of who has a share, and may free it.
 * Source: "cluster" in the Node.js documents. */
#ifndef USHER_COMMON_CLUSTER_SHARE_H
#define USHER_COMMON_CLUSTER_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/share_request.h"
#include "common/cluster/source.h"
#include "common/net/bind.h"

struct channel;
struct lookup;
struct shares;

enum share_hold_state {
	SHARE_WAITS,
	SHARE_HELD,
	SHARE_GIVEN_UP, /* before it came: until then the socket is on its way, and in use */
	SHARE_LEFT,     /* given back, but connections may be left */
};

/* What one worker has of a share. */
struct share_hold {
	LIST_ENTRY(share_hold) of_holder;
	TAILQ_ENTRY(share_hold) of_share;
	struct holder *holder;
	struct share *share;
	uint32_t request;
	enum share_hold_state state;
	bool serves;          /* its server listens */
	uint32_t connections; /* as last told */
};

TAILQ_HEAD(share_holds, share_hold);

/* A worker. All fields are the module's own; holds may be read. */
struct holder {
	struct shares *shares;
	struct channel *channel;
	struct taker *taker;
	LIST_HEAD(, share_hold) holds;
	unsigned int n_holds;
	unsigned int n_waiting;
	uint32_t last_request;
	bool disconnects;
};

/* To read. */
struct share {
	LIST_ENTRY(share) link;
	struct shares *shares;
	uint32_t id;                  /* in messages; from IPC_SHARE_FIRST on */
	struct share_request request; /* of the first who asked */
	struct share_holds holds;
	struct lookup *lookup;
	struct bound bound;   /* fd is -1 until it is open, and when nobody holds it any more */
	struct source source; /* of one on which we accept; else its policy is POLICY_NONE */
	bool waited;          /* nudge's: something was in the queue when it looked last */
	bool is_closed;       /* nobody may join; connections may be left */
};

/* The one that a request may join, NULL if there is none. */
struct share *share_find(struct shares *shares, const struct share_request *request);

/* A new one that is not open. The request's text becomes its own. NULL: out of memory. */
struct share *share_new(struct shares *shares, struct share_request *request);

/* Closes what nobody holds, and forgets what nobody counts. */
void share_tidy(struct share *share);

/* Where it listens, "" before it is open: as the kernel says, or the path as asked. */
void share_format(const struct share *share, char *text, size_t size);

struct share_hold *share_hold_find(struct holder *holder, uint32_t request);

/* Whether the worker has it, or waits for it. */
bool share_hold_exists(const struct holder *holder, const struct share *share);

/* One that waits. */
int share_hold_new(struct holder *holder, struct share *share, uint32_t request);
void share_hold_set_state(struct share_hold *hold, enum share_hold_state state);
void share_hold_free(struct share_hold *hold);

#endif
