/* One question to the system's resolver: nsswitch.conf, /etc/hosts, DNS. It blocks; lookup.h is
 * the way to ask from an event loop.
 *
 * Owns:   the caller frees the addresses of a result with free().
 * Errors: 0, -errno, NET_ERR_NOT_FOUND, NET_ERR_EAI_AGAIN or NET_ERR_EAI_FAIL; *ret is set on
 *         success only.
 * Source: getaddrinfo(3). */
#ifndef USHER_COMMON_NET_RESOLVE_H
#define USHER_COMMON_NET_RESOLVE_H

#include "common/net/addr.h"

/* Addresses of one name; what a resolver gives beyond them is left out. */
#define RESOLVE_ADDRESSES_MAX 256

struct resolve_request {
	const char *host;
	int family;    /* 4, 6, or 0 for both */
	int hints;     /* NET_HINT_* */
	uint16_t port; /* put into the addresses */
};

struct resolve_result {
	struct addr *addresses; /* in the resolver's order, at least one */
	size_t count;
};

/* Returns -EINVAL for a host that is empty or too long for any resolver, and for a family or a
 * hint not named above. */
int resolve_check(const struct resolve_request *request);

/* Asks for a checked request. */
int resolve_name(const struct resolve_request *request, struct resolve_result *ret);

/* Whether the host is an address, in any form that inet_aton(3) and RFC 4291 know, with or without
 * a zone; if so, *ret_status is what resolve_name() would return. Never blocks. */
bool resolve_literal(const struct resolve_request *request, int *ret_status,
		     struct resolve_result *ret);

#endif
