/* The socket of a share, opened and closed with the rights of who may have it.
 *
 * Owns:   a struct bound is the caller's, until share_socket_close().
 * Errors: 0 or -errno. *ret is set on success only.
 * Source: unix(7); bind(2). */
#ifndef USHER_COMMON_CLUSTER_SHARE_SOCKET_H
#define USHER_COMMON_CLUSTER_SHARE_SOCKET_H

#include "common/cluster/rights.h"
#include "common/cluster/share_request.h"
#include "common/net/bind.h"

/* Opens what is asked for. addr is the address of a request with a host, else it is not looked at.
 * A socket of the Internet listens then, one of a path is only bound unless paths_listen; of a
 * descriptor it is a duplicate, which listens. */
int share_socket_open(const struct share_request *request, const struct addr *addr,
		      const struct rights *rights, bool paths_listen, struct bound *ret);

/* Removes the file of a path with the same rights. */
void share_socket_close(struct bound *bound, const struct rights *rights);

#endif
