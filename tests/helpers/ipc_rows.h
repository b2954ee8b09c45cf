/* The table of messages as an array, for tests that go through all of them. */
#ifndef USHER_TESTS_HELPERS_IPC_ROWS_H
#define USHER_TESTS_HELPERS_IPC_ROWS_H

#include "common/ipc/messages.h"

struct ipc_row {
	const char *name;
	enum ipc_type type;
	enum ipc_side side;
	size_t body;
	size_t tail;        /* of one element; 0: none */
	size_t descriptors; /* or IPC_FDS_EACH */
};

/* Ends with a row that has no name. */
extern const struct ipc_row ipc_rows[];

/* The row of a type, NULL if there is none. */
const struct ipc_row *ipc_row_of(unsigned int type);

/* With so many elements in the tail. */
size_t ipc_row_fds(const struct ipc_row *row, size_t tail_count);

/* So many elements the longest tail has. */
size_t ipc_row_tail_max(const struct ipc_row *row);

#endif
