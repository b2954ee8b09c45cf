/* How a share that somebody asks for comes to be open, if he may have it.
 *
 * Errors: told to whoever waits for the share, and it is forgotten.
 * Order:  a name is looked up without waiting for it. */
#ifndef USHER_COMMON_CLUSTER_SHARE_OPEN_H
#define USHER_COMMON_CLUSTER_SHARE_OPEN_H

#include "common/cluster/shares.h"

/* Whether the worker may have it; that it may not is told with on_refused. */
enum share_permission share_open_ask(struct holder *holder, const struct share_request *request,
				     const struct addr *addr);

/* Answers now, or when the name is known. addr is NULL where none is known. */
void share_open_start(struct share *share, const struct addr *addr,
		      enum share_permission permission);

#endif
