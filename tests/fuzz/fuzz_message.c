/* Fuzzes the decoder of packets: whatever comes, as either side, with any number of descriptors.
 *
 * What is accepted must agree with the table, lie inside the packet, and encode to it again. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/ipc/messages.h"
#include "tests/helpers/ipc_rows.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct ipc_message *m, enum ipc_side sender, const char *packet,
			  size_t size)
{
	static char again[IPC_PACKET_MAX];
	const struct ipc_row *row = ipc_row_of(m->type);
	const char *end = (const char *)m->tail;

	REQUIRE(row && (row->side == sender || row->side == IPC_EITHER));
	REQUIRE(m->lost ? m->n_fds == 0 : m->n_fds == ipc_row_fds(row, m->tail_count));
	REQUIRE(strcmp(ipc_type_name(m->type), row->name) == 0);
	REQUIRE((const char *)m->body == packet + sizeof(uint32_t));
	REQUIRE((const char *)m->tail == (const char *)m->body + row->body);
	REQUIRE(end + m->tail_count * row->tail == packet + size);

	REQUIRE(ipc_encode(m->type, m->body, m->tail, m->tail_count, again) == (int)size);
	REQUIRE(memcmp(again, packet, size) == 0);
}

/* Only what has one for each element comes without them. */
static void decode_lost(enum ipc_side sender, const char *packet, size_t size)
{
	struct ipc_message message;
	const char *why = NULL;

	if (ipc_decode(sender, packet, size, IPC_FDS_LOST, &message, &why) == 0) {
		REQUIRE(message.lost);
		REQUIRE(ipc_row_of(message.type)->descriptors == IPC_FDS_EACH);
		check_message(&message, sender, packet, size);
	}
}

/* Returns whether the packet is accepted. */
static int decode(enum ipc_side sender, size_t n_fds, const char *packet, size_t size)
{
	struct ipc_message message;
	const char *why = NULL;
	int error = ipc_decode(sender, packet, size, n_fds, &message, &why);

	if (error < 0) {
		REQUIRE(error == -EPROTO && why && why[0] != '\0');
		return 0;
	}
	REQUIRE(error == 0);
	check_message(&message, sender, packet, size);
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int accepted[2] = {0};

	/* The channel receives no more. An allocation of its own size shows every byte read beyond.
	 */
	if (size > IPC_PACKET_MAX)
		return -1;
	char *packet = malloc(size);
	REQUIRE(packet || size == 0);
	if (size > 0)
		memcpy(packet, data, size);

	for (size_t n_fds = 0; n_fds <= IPC_FDS_MAX + 1; n_fds++) {
		accepted[IPC_SUPERVISOR] += decode(IPC_SUPERVISOR, n_fds, packet, size);
		accepted[IPC_WORKER] += decode(IPC_WORKER, n_fds, packet, size);
	}
	REQUIRE(accepted[IPC_SUPERVISOR] <= 1 && accepted[IPC_WORKER] <= 1); /* one count */
	decode_lost(IPC_SUPERVISOR, packet, size);
	decode_lost(IPC_WORKER, packet, size);
	free(packet);
	return 0;
}
