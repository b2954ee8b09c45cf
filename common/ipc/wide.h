/* Numbers of 64 bits in messages, whose fields are 32 bits wide: the lower half, then the upper. */
#ifndef USHER_COMMON_IPC_WIDE_H
#define USHER_COMMON_IPC_WIDE_H

#include <stdint.h>

static inline void wide_put(uint32_t field[2], uint64_t number)
{
	field[0] = (uint32_t)number;
	field[1] = (uint32_t)(number >> 32);
}

static inline uint64_t wide_get(const uint32_t field[2])
{
	return (uint64_t)field[1] << 32 | field[0];
}

#endif
