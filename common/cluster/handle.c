#include "common/cluster/handle.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "common/ipc/wide.h"

static const struct {
	enum ipc_handle_flag flag;
	size_t offset;
} flags[] = {
	{IPC_HANDLE_HALF_OPEN, offsetof(struct transfer, allow_half_open)},
	{IPC_HANDLE_PAUSED, offsetof(struct transfer, paused)},
	{IPC_HANDLE_ENDED, offsetof(struct transfer, ended)},
	{IPC_HANDLE_NO_DELAY, offsetof(struct transfer, no_delay)},
	{IPC_HANDLE_KEEP_ALIVE, offsetof(struct transfer, keep_alive)},
};

#define FLAG_COUNT (sizeof(flags) / sizeof(flags[0]))

void handle_to_row(const struct transfer *from, struct ipc_handle_row *ret)
{
	*ret = (struct ipc_handle_row){
		.high_water_mark = from->high_water_mark,
		.keep_alive_initial_delay_ms = from->keep_alive_initial_delay_ms,
		.type_of_service = from->type_of_service,
		.peer.size = from->peer.len,
	};
	for (size_t i = 0; i < FLAG_COUNT; i++)
		if (*((const bool *)((const char *)from + flags[i].offset)))
			ret->flags |= flags[i].flag;
	wide_put(ret->write_limit, from->write_limit);
	assert(from->peer.len <= sizeof(ret->peer.address));
	memcpy(ret->peer.address, &from->peer.sa, from->peer.len);
}

static int check_peer(const struct ipc_peer *peer)
{
	const struct sockaddr *sa = (const struct sockaddr *)peer->address;

	if (peer->size == 0)
		return 0;
	if (peer->size < sizeof(sa_family_t) || peer->size > sizeof(struct sockaddr_un))
		return -EPROTO;
	switch (sa->sa_family) {
	case AF_INET:
		return peer->size == sizeof(struct sockaddr_in) ? 0 : -EPROTO;
	case AF_INET6:
		return peer->size == sizeof(struct sockaddr_in6) ? 0 : -EPROTO;
	case AF_UNIX:
		return 0;
	default:
		return -EPROTO;
	}
}

int handle_from_row(const struct ipc_handle_row *row, struct transfer *ret)
{
	if (row->flags & ~(uint32_t)IPC_HANDLE_FLAGS || row->type_of_service > UINT8_MAX ||
	    row->keep_alive_initial_delay_ms > INT_MAX || check_peer(&row->peer) < 0)
		return -EPROTO;

	*ret = (struct transfer){
		.high_water_mark = row->high_water_mark,
		.write_limit = wide_get(row->write_limit),
		.keep_alive_initial_delay_ms = row->keep_alive_initial_delay_ms,
		.type_of_service = (uint8_t)row->type_of_service,
		.peer.len = row->peer.size,
	};
	for (size_t i = 0; i < FLAG_COUNT; i++)
		*(bool *)((char *)ret + flags[i].offset) = row->flags & flags[i].flag;
	memcpy(&ret->peer.sa, row->peer.address, row->peer.size);
	return 0;
}
