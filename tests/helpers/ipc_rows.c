#include "tests/helpers/ipc_rows.h"

const struct ipc_row ipc_rows[] = {
#define X(name, wire, side, body, tail, descriptors) \
	{#name, IPC_##name, IPC_##side, sizeof(struct body), sizeof(struct tail), (descriptors)},
	IPC_TABLE(X)
#undef X
		{0},
};

const struct ipc_row *ipc_row_of(unsigned int type)
{
	for (const struct ipc_row *row = ipc_rows; row->name; row++)
		if ((unsigned int)row->type == type)
			return row;
	return NULL;
}

size_t ipc_row_fds(const struct ipc_row *row, size_t tail_count)
{
	return row->descriptors == IPC_FDS_EACH ? tail_count : row->descriptors;
}

size_t ipc_row_tail_max(const struct ipc_row *row)
{
	size_t fits = row->tail ? (IPC_PACKET_MAX - sizeof(uint32_t) - row->body) / row->tail : 0;

	return row->descriptors == IPC_FDS_EACH && fits > IPC_FDS_MAX ? IPC_FDS_MAX : fits;
}
