#include "common/ipc/messages.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/un.h>

#include "common/fdpass.h"

struct header {
	uint32_t type;
};

struct row {
	const char *name;
	enum ipc_side side;
	size_t body;
	size_t tail; /* of one element; 0: none */
	size_t descriptors;
};

static const struct row rows[IPC_TYPE_END] = {
#define X(name, wire, side, body, tail, descriptors) \
	[IPC_##name] = {#name, IPC_##side, sizeof(struct body), sizeof(struct tail), descriptors},
	IPC_TABLE(X)
#undef X
};

#define X(name, wire, side, body, tail, descriptors)                                             \
	static_assert(sizeof(struct body) % sizeof(uint32_t) == 0, #body " has padding");        \
	static_assert(alignof(struct body) <= alignof(uint32_t), #body " needs more alignment"); \
	static_assert(alignof(struct tail) <= alignof(uint32_t), #tail " needs more alignment"); \
	static_assert((descriptors) <= IPC_FDS_MAX || (descriptors) == IPC_FDS_EACH,             \
		      #name " has too many descriptors");
IPC_TABLE(X)
#undef X

static_assert(IPC_FDS_MAX == FDPASS_MAX, "a packet is to carry as many as the kernel lets it");
static_assert(sizeof(((struct ipc_peer *)0)->address) >= sizeof(struct sockaddr_un),
	      "an address does not fit");

static const struct row *row_of(uint32_t type)
{
	return type < IPC_TYPE_END && rows[type].name ? &rows[type] : NULL;
}

const char *ipc_type_name(unsigned int type)
{
	const struct row *row = row_of(type);

	return row ? row->name : "?";
}

static size_t count_fds(const struct row *row, size_t tail_count)
{
	return row->descriptors == IPC_FDS_EACH ? tail_count : row->descriptors;
}

size_t ipc_fd_count(enum ipc_type type, size_t tail_count)
{
	return count_fds(&rows[type], tail_count);
}

int ipc_encode(enum ipc_type type, const void *body, const void *tail, size_t tail_count,
	       void *packet)
{
	const struct row *row = row_of(type);
	struct header header = {type};
	char *end = packet;

	assert(row && (tail_count == 0 || row->tail > 0));
	if (tail_count > 0 &&
	    tail_count > (IPC_PACKET_MAX - sizeof(header) - row->body) / row->tail)
		return -EMSGSIZE;
	if (count_fds(row, tail_count) > IPC_FDS_MAX)
		return -EMSGSIZE;

	end = mempcpy(end, &header, sizeof(header));
	if (row->body > 0)
		end = mempcpy(end, body, row->body);
	if (tail_count > 0)
		end = mempcpy(end, tail, tail_count * row->tail);
	return (int)(end - (char *)packet);
}

/* Returns what is wrong with a packet, NULL if nothing is. */
static const char *complaint(enum ipc_side sender, const struct row *row, size_t size, size_t n_fds)
{
	if (!row)
		return "a message of an unknown type";
	if (row->side != sender && row->side != IPC_EITHER)
		return "a message that only the other side sends";
	if (size < sizeof(struct header) + row->body)
		return "a message that is too short";

	size_t rest = size - sizeof(struct header) - row->body;
	if (row->tail == 0 ? rest > 0 : rest % row->tail != 0)
		return "a message of the wrong size";
	size_t wanted = count_fds(row, row->tail ? rest / row->tail : 0);
	if (wanted > IPC_FDS_MAX || (n_fds != IPC_FDS_LOST && n_fds != wanted))
		return "a message with the wrong number of descriptors";
	return NULL;
}

/* A message of connections is answered without them: they are refused. */
static bool is_lost(const struct row *row, size_t n_fds)
{
	return n_fds == IPC_FDS_LOST && row->descriptors != IPC_FDS_EACH;
}

int ipc_decode(enum ipc_side sender, const void *packet, size_t size, size_t n_fds,
	       struct ipc_message *ret, const char **ret_why)
{
	struct header header;

	if (size < sizeof(header)) {
		*ret_why = "a message without a header";
		return -EPROTO;
	}
	memcpy(&header, packet, sizeof(header));

	const struct row *row = row_of(header.type);
	*ret_why = complaint(sender, row, size, n_fds);
	if (*ret_why)
		return -EPROTO;
	if (is_lost(row, n_fds)) {
		*ret_why = "descriptors of its message were lost";
		return -EOVERFLOW;
	}

	const char *body = (const char *)packet + sizeof(header);
	*ret = (struct ipc_message){
		.type = (enum ipc_type)header.type,
		.body = body,
		.tail = body + row->body,
		.tail_count = row->tail ? (size - sizeof(header) - row->body) / row->tail : 0,
		.n_fds = n_fds == IPC_FDS_LOST ? 0 : n_fds,
		.lost = n_fds == IPC_FDS_LOST,
	};
	return 0;
}
