/* The addresses of a host name, from the system's resolver or from a function of the user's.
 *
 * Owns:   the module owns a question until its callback has returned or host_cancel() was called.
 *         What was asked of a user's function is kept until the answer, which nobody then wants.
 * Errors: functions return 0 or -errno; a status is 0, -errno or NET_ERR_*. What a user's function
 *         answers is checked like anything from outside.
 * Order:  the callback runs once, on a later turn, never after host_cancel().
 * Source: net_lookup_fn in net.h; lookup.h for the system. */
#ifndef USHER_COMMON_NET_HOST_H
#define USHER_COMMON_NET_HOST_H

#include "common/net/addr.h"
#include "common/net/context.h"

/* Addresses that a user's function may give; those beyond are left out. */
#define HOST_ADDRESSES_MAX 64

struct host_request {
	const char *host; /* copied */
	uint16_t port;    /* put into the addresses */
	int family;       /* 4, 6, or 0 for both */
	int hints;
	net_lookup_fn *lookup; /* NULL: the system */
	void *lookup_ctx;
};

/* addresses are borrowed; there is at least one when status is 0, and none otherwise. */
typedef void host_fn(int status, const struct addr *addresses, size_t count, void *ctx);

int host_ask(struct net_context *context, const struct host_request *request, host_fn *done,
	     void *ctx, struct net_lookup **ret);

/* Takes NULL. From inside the callback it does nothing. */
void host_cancel(struct net_lookup *question);

#endif
