/* A socket or a server as a row of a HANDLE message, and back.
 *
 * Errors: -EPROTO for a row that no honest end sends. */
#ifndef USHER_COMMON_CLUSTER_HANDLE_H
#define USHER_COMMON_CLUSTER_HANDLE_H

#include <stdint.h>

#include "common/ipc/messages.h"
#include "common/net/transfer.h"

void handle_to_row(const struct transfer *from, struct ipc_handle_row *ret);
int handle_from_row(const struct ipc_handle_row *row, struct transfer *ret);

/* Numbers of 64 bits in fields of 32: the lower half comes first. */
static inline uint64_t handle_number(const uint32_t halves[2])
{
	return (uint64_t)halves[1] << 32 | halves[0];
}

static inline void handle_set_number(uint32_t halves[2], uint64_t number)
{
	halves[0] = (uint32_t)number;
	halves[1] = (uint32_t)(number >> 32);
}

#endif
