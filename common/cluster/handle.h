/* A socket or a server as a row of a HANDLE message, and back.
 *
 * Errors: -EPROTO for a row that no honest end sends. */
#ifndef USHER_COMMON_CLUSTER_HANDLE_H
#define USHER_COMMON_CLUSTER_HANDLE_H

#include "common/ipc/messages.h"
#include "common/net/transfer.h"

void handle_to_row(const struct transfer *from, struct ipc_handle_row *ret);
int handle_from_row(const struct ipc_handle_row *row, struct transfer *ret);

#endif
