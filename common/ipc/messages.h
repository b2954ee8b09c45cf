/* The messages between supervisor and worker: one table, from which everything else follows.
 *
 * A message is one packet: header, body, and for some a tail of equal elements, with as many
 * descriptors as the table says. All fields are of fixed width in the machine's own byte order,
 * since both ends run on one machine.
 *
 * A worker says HELLO; the supervisor answers WELCOME, a SERVE for each listener and START; the
 * worker answers READY. From then on SERVE and RELEASE may come at any time. After DRAIN the
 * worker stops accepting, says DRAINING, and ends when its connections have, or at the deadline. */
#ifndef USHER_COMMON_IPC_MESSAGES_H
#define USHER_COMMON_IPC_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

/* Changes with every change of the table; both sides must have the same. */
#define IPC_VERSION 2

/* The channel's descriptor number is in this environment variable of a worker. */
#define IPC_CHANNEL_VARIABLE "USHER_CHANNEL"

enum ipc_side { IPC_SUPERVISOR, IPC_WORKER };

/* The body or tail of a message that has none. */
struct ipc_none {
	char nothing[0];
};

struct ipc_hello {
	uint32_t version;
};

struct ipc_welcome {
	uint32_t worker;            /* its id, never used for another */
	uint32_t drain_timeout_ms;  /* for a drain that nobody gave a deadline: TERM */
	uint32_t orphan_timeout_ms; /* for the drain after the supervisor has gone */
};

/* The tail holds the listener's name and then the handler's text. A listener may have several
 * sockets, its handles. */
struct ipc_serve {
	uint32_t listener;
	uint32_t handle;
	uint32_t handler; /* enum handler_kind */
	uint32_t name_size;
};

struct ipc_release {
	uint32_t listener;
	uint32_t handle;
};

struct ipc_count {
	uint32_t request;
};

struct ipc_counted {
	uint32_t request;
	uint32_t last; /* 1: no further message answers this request */
};

struct ipc_counted_row {
	uint32_t listener;
	uint32_t connections;
};

struct ipc_drain {
	uint32_t timeout_ms;
	uint32_t empty_queue; /* 1: accept what is queued first, for nobody else will */
};

/* clang-format off */
/*        name      wire  sent by     body          tail             descriptors */
#define IPC_TABLE(X)                                                  \
	X(HELLO,    1,    WORKER,     ipc_hello,    ipc_none,        0) \
	X(WELCOME,  2,    SUPERVISOR, ipc_welcome,  ipc_none,        0) \
	X(SERVE,    3,    SUPERVISOR, ipc_serve,    ipc_text,        1) \
	X(RELEASE,  4,    SUPERVISOR, ipc_release,  ipc_none,        0) \
	X(START,    5,    SUPERVISOR, ipc_none,     ipc_none,        0) \
	X(READY,    6,    WORKER,     ipc_none,     ipc_none,        0) \
	X(COUNT,    7,    SUPERVISOR, ipc_count,    ipc_none,        0) \
	X(COUNTED,  8,    WORKER,     ipc_counted,  ipc_counted_row, 0) \
	X(DRAIN,    9,    SUPERVISOR, ipc_drain,    ipc_none,        0) \
	X(DRAINING, 10,   WORKER,     ipc_none,     ipc_none,        0)
/* clang-format on */

/* One byte of a tail that is text; it need not end with a NUL. */
struct ipc_text {
	char byte;
};

enum ipc_type {
#define X(name, wire, side, body, tail, descriptors) IPC_##name = (wire),
	IPC_TABLE(X)
#undef X
		IPC_TYPE_END
};

/* A packet is no longer than this, and carries no more descriptors. */
#define IPC_PACKET_MAX 65536
#define IPC_FDS_MAX    1

/* A message that was received and passed every check of the table. */
struct ipc_message {
	enum ipc_type type;
	const void *body;
	const void *tail;
	size_t tail_count; /* elements */
	int *fds;          /* whoever takes one puts -1 in its place */
	size_t n_fds;
};

/* "HELLO" for IPC_HELLO; "?" for what is no type. */
const char *ipc_type_name(unsigned int type);

/* Builds the packet of a message into packet, which holds IPC_PACKET_MAX bytes. The sizes of body
 * and tail are the table's. Returns the packet's size, or -EMSGSIZE when the tail is too long. */
int ipc_encode(enum ipc_type type, const void *body, const void *tail, size_t tail_count,
	       void *packet);

/* Checks a packet that sender sent and points ret into it; packet must be aligned for uint32_t.
 * Returns 0, or -EPROTO and in ret_why a sentence for the log. */
int ipc_decode(enum ipc_side sender, const void *packet, size_t size, size_t n_fds,
	       struct ipc_message *ret, const char **ret_why);

/* The number of descriptors that the table gives to a message. */
size_t ipc_fd_count(enum ipc_type type);

#endif
