/* The messages between supervisor and worker: one table, from which everything else follows.
 *
 * A message is one packet: header, body, and for some a tail of equal elements, with as many
 * descriptors as the table says. All fields are of fixed width in the machine's own byte order,
 * since both ends run on one machine.
 *
 * A worker says HELLO; the supervisor answers WELCOME, a SERVE for each listener and START; the
 * worker answers READY. From then on SERVE and RELEASE may come at any time. After DRAIN the
 * worker stops accepting, says DRAINING, and ends when its connections have, or at the deadline.
 *
 * After REST the worker gives up the sockets that it accepts on, says RESTING, and goes on with the
 * connections it has; a SERVE that comes later it serves as ever. Sockets that its programs asked
 * for by LISTEN it keeps, and accepts nothing from them before RESUME.
 *
 * A worker that was woken for a connection and has no descriptor or memory for it says SHORT, so
 * that the others are told to look (NUDGE).
 *
 * A listener on which the supervisor accepts is announced by ADOPT instead of SERVE. Its
 * connections come by HANDOFF to a worker that is ready, numbered through all listeners, and at
 * most IPC_IN_FLIGHT_MAX of them are not taken. The worker takes them in the memory that CLAIMS has
 * brought (claims.h), where it also notes those that it cannot serve, and only after that it
 * touches a connection. What is not taken belongs to the supervisor: it gives it to another worker
 * when this one has died, or has let it wait for too long.
 *
 * PROGRESS makes the supervisor look there. The worker says it when a connection was refused, when
 * the supervisor waits for room, before it closes connections of which the supervisor still has a
 * copy, and when it finds what was withdrawn, for then it was thought to hang; with
 * tell_connections whenever it has taken any.
 *
 * Messages of users go both ways, numbered for each direction, in pieces (MAIL). One that has a
 * socket or a server with it is announced by HANDLE, which carries the descriptor, and goes on
 * when that was ANSWERED; a descriptor that was lost on its way is sent again. So much may be
 * under way that nobody has taken (IPC_MAIL_WINDOW); TAKEN gives room again. SOCKETS_COUNT asks how
 * many of the sockets that came with a key are open, SOCKETS_CLOSE when the last of them is not.
 *
 * A server that a program in the worker makes listen is asked for by LISTEN, with a number that
 * counts the worker's requests from 1. LISTENED brings the socket, which the worker makes listen if
 * it does not yet, and says SERVING; LISTENED_APART is for a server whose connections come by
 * HANDOFF; NOT_LISTENED says why there is none. UNLISTEN tells that there is no server, and whether
 * the answer has come: it was closed, or could not use what came. It is said again when an answer
 * comes that nobody waits for any more, and when the last connection has ended, if some were left.
 */
#ifndef USHER_COMMON_IPC_MESSAGES_H
#define USHER_COMMON_IPC_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Changes with every change of the table; both sides must have the same. */
#define IPC_VERSION 7

/* The channel's descriptor number is in this environment variable of a worker. */
#define IPC_CHANNEL_VARIABLE "USHER_CHANNEL"

/* IPC_EITHER is only in the table: both send it. */
enum ipc_side { IPC_SUPERVISOR, IPC_WORKER, IPC_EITHER };

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

/* Bytes in a listener's name. */
#define IPC_LISTENER_NAME_MAX 64

/* The tail holds the listener's name and then the handler's text. A listener may have several
 * sockets, its handles. */
struct ipc_serve {
	uint32_t listener;
	uint32_t handle;
	uint32_t handler; /* enum handler_kind */
	uint32_t name_size;
	uint32_t metered; /* 1: it accepts no more than it has permits */
	uint32_t shared;  /* 1: other workers accept from the same socket */
};

struct ipc_release {
	uint32_t listener;
	uint32_t handle;
};

/* The tail is that of SERVE. */
struct ipc_adopt {
	uint32_t listener;
	uint32_t handler;
	uint32_t name_size;
	uint32_t tally;            /* of the claims, for its connections that have ended; 0: none */
	uint32_t tell_connections; /* 1: in PROGRESS, whenever their number has changed */
	uint32_t metered;          /* 1: in HELD */
};

/* So many connections may be on their way to one worker. */
#define IPC_IN_FLIGHT_MAX 256

/* The tail has a row for each connection, in the order of their numbers. */
struct ipc_handoff {
	uint32_t listener;
	uint32_t first; /* the number of the first one; the first ever is 1, and they wrap around */
};

/* Who has connected, as accept(2) told: later the connection may no longer know. */
struct ipc_peer {
	uint32_t size;
	uint32_t address[28]; /* a struct sockaddr of any family that there is here */
	uint32_t elsewhere;   /* of HANDOFF, 1: who did not take it has a copy in his queue */
};

struct ipc_progress {
	uint32_t taken; /* all up to this number; the rows count those among them that it serves */
};

/* Something waits in the queue of a shared listener: whoever was woken for it has not come. */
struct ipc_nudge {
	uint32_t listener;
};

/* Of a listener on which the worker accepts. */
struct ipc_permit {
	uint32_t listener;
	uint32_t serial;  /* one more than that of the last PERMIT of this listener */
	uint32_t granted; /* since its process has started, in all; wraps around */
	uint32_t keep;    /* so many permits it may keep when it has fewer connections */
};

/* What a worker keeps of a listener on which it accepts; of one whose connections are handed off
 * all is 0 but ended. */
struct ipc_held_row {
	uint32_t listener;
	uint32_t serial;  /* of the last PERMIT that came */
	uint32_t granted; /* as it said */
	uint32_t kept;    /* permits: never more than it had */
	uint32_t used;    /* of those: connections */
	uint32_t ended;   /* of those that it has taken, in all; wraps around */
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

/* On what a server shall listen: on a port of the host that is the tail, or of any if the tail is
 * empty; on the path, absolute or "@" and a name, that is the tail; on a descriptor of the
 * supervisor's. */
enum ipc_listen_kind { IPC_LISTEN_PORT, IPC_LISTEN_PATH, IPC_LISTEN_FD };

/* Flags of a LISTEN. */
#define IPC_LISTEN_IPV6_ONLY    1u
#define IPC_LISTEN_READABLE_ALL 2u
#define IPC_LISTEN_WRITABLE_ALL 4u

struct ipc_listen {
	uint32_t request;
	uint32_t kind;
	uint32_t port;
	uint32_t fd;
	uint32_t turn; /* of port 0: how often the worker has asked for this before */
	uint32_t backlog;
	uint32_t flags;
};

/* The numbers of listeners that are made so begin here; others are configured. */
#define IPC_SHARE_FIRST 0x80000000u

struct ipc_listened {
	uint32_t request;
	uint32_t listener;
	uint32_t backlog; /* 0: the socket listens, or the default */
};

/* In place of a socket: the supervisor accepts, and the connections come by HANDOFF. The tail is
 * one row, the address. */
struct ipc_listened_apart {
	uint32_t request;
	uint32_t listener;
	uint32_t tell_connections; /* as in ADOPT */
};

struct ipc_not_listened {
	uint32_t request;
	uint32_t error;     /* a negative error of the net library, as an int32_t */
	uint32_t of_lookup; /* 1: it is about the host's name, not the address */
};

struct ipc_serving {
	uint32_t request;
};

struct ipc_unlisten {
	uint32_t request;
	uint32_t answered;    /* 1: nothing is on its way to the worker any more */
	uint32_t connections; /* that are left */
};

/* What a new process does before it runs its program. */
enum ipc_step {
	IPC_STEP_DESCRIPTORS,
	IPC_STEP_USER,
	IPC_STEP_FOLDER,
	IPC_STEP_EXECUTE,
	IPC_STEP_END
};

/* The first and last message of a process that could not run its program. */
struct ipc_failed {
	uint32_t step;  /* enum ipc_step */
	uint32_t error; /* an errno */
};

/* What may be under way of the messages of users. A piece costs its size and the share of a
 * message; a handle that, too, once it has arrived. */
#define IPC_MAIL_WINDOW      (256u << 10)
#define IPC_MAIL_PIECE_COST  64
#define IPC_MAIL_HANDLE_COST 4096

/* The tail is the bytes at offset of a message of size bytes: those that its socket had not yet
 * told, if it has one, and then the user's. */
struct ipc_mail {
	uint32_t number; /* of the message; the first has 1, as has the one after the last number */
	uint32_t size;
	uint32_t offset;
};

enum ipc_handle_kind { IPC_HANDLE_SOCKET = 1, IPC_HANDLE_SERVER };

struct ipc_handle {
	uint32_t number; /* of the message that it belongs to */
	uint32_t kind;
	uint32_t unread; /* so many bytes of the message are the socket's */
	uint32_t key[2]; /* of the server that counts the socket; 0: none */
};

enum ipc_handle_flag {
	IPC_HANDLE_HALF_OPEN = 1, /* allow_half_open */
	IPC_HANDLE_PAUSED = 2,    /* or pause_on_connect */
	IPC_HANDLE_ENDED = 4,     /* our side has ended */
	IPC_HANDLE_NO_DELAY = 8,
	IPC_HANDLE_KEEP_ALIVE = 16,
	IPC_HANDLE_FLAGS = 31,
};

/* One row, with the descriptor. */
struct ipc_handle_row {
	uint32_t flags;
	uint32_t high_water_mark;
	uint32_t write_limit[2];
	uint32_t keep_alive_initial_delay_ms;
	uint32_t type_of_service;
	struct ipc_peer peer;
};

struct ipc_answered {
	uint32_t number;
	uint32_t status; /* 0: the descriptor is there; else an errno, and it is not */
};

struct ipc_taken {
	uint32_t cost;
};

struct ipc_sockets {
	uint32_t request;
	uint32_t key[2];
};

struct ipc_sockets_counted {
	uint32_t request;
	uint32_t count;
};

struct ipc_sockets_closed {
	uint32_t request;
};

/* Every listener, in place of its number. */
#define IPC_LISTENERS_ALL UINT32_MAX

/* A LISTED message has no more rows. */
#define IPC_LISTED_MAX 512

/* Asks for the newest connections, of one listener or of all, that are older than one that was
 * listed: so whatever stays is told once, however many questions it takes. */
struct ipc_list {
	uint32_t request;
	uint32_t listener;
	uint32_t before_us[2]; /* lower half, upper one; both 0: from the newest on */
};

struct ipc_listed {
	uint32_t request;
	uint32_t more; /* 1: there are older ones than the last of these */
};

/* The rows come from the newest to the oldest. */
struct ipc_listed_row {
	uint32_t listener;
	uint32_t accepted_us[2]; /* CLOCK_MONOTONIC; no other connection of the worker has the same
				  */
	uint32_t bytes_read[2];
	uint32_t bytes_written[2];
	uint32_t family;     /* AF_INET, AF_INET6 or AF_UNIX */
	uint32_t port;       /* of AF_UNIX: the client's process */
	uint32_t scope;      /* of AF_UNIX: its user */
	uint32_t address[4]; /* in network order, AF_INET has the first */
};

/* To a process of <usher/cluster.h>: close your servers, wait for their connections, close the
 * channel, all within timeout_ms. It says LEAVING when it wants to be told so. */
struct ipc_disconnect {
	uint32_t timeout_ms;
};

/* In place of a number of descriptors: one for each element of the tail. Such a message arrives
 * even when the receiver could not take its descriptors. */
#define IPC_FDS_EACH ((size_t)-2)

/* The number of descriptors of a message that lost them on its way. */
#define IPC_FDS_LOST ((size_t)-1)

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
	X(DRAINING, 10,   WORKER,     ipc_none,     ipc_none,        0) \
	X(ADOPT,    11,   SUPERVISOR, ipc_adopt,    ipc_text,        0) \
	X(HANDOFF,  12,   SUPERVISOR, ipc_handoff,  ipc_peer,        IPC_FDS_EACH) \
	X(PROGRESS, 13,   WORKER,     ipc_progress, ipc_counted_row, 0) \
	X(NUDGE,    15,   SUPERVISOR, ipc_nudge,    ipc_none,        0) \
	X(PERMIT,   16,   SUPERVISOR, ipc_permit,   ipc_none,        0) \
	X(HELD,     17,   WORKER,     ipc_none,     ipc_held_row,    0) \
	X(SHORT,    18,   WORKER,     ipc_none,     ipc_none,        0) \
	X(LISTEN,   20,   WORKER,     ipc_listen,   ipc_text,        0) \
	X(LISTENED, 21,   SUPERVISOR, ipc_listened, ipc_none,        1) \
	X(NOT_LISTENED, 22, SUPERVISOR, ipc_not_listened, ipc_none,  0) \
	X(SERVING,  23,   WORKER,     ipc_serving,  ipc_none,        0) \
	X(UNLISTEN, 24,   WORKER,     ipc_unlisten, ipc_none,        0) \
	X(LISTENED_APART, 25, SUPERVISOR, ipc_listened_apart, ipc_peer, 0) \
	X(MAIL,     30,   EITHER,     ipc_mail,     ipc_text,        0) \
	X(HANDLE,   31,   EITHER,     ipc_handle,   ipc_handle_row,  IPC_FDS_EACH) \
	X(ANSWERED, 32,   EITHER,     ipc_answered, ipc_none,        0) \
	X(TAKEN,    33,   EITHER,     ipc_taken,    ipc_none,        0) \
	X(SOCKETS_COUNT,   34, EITHER, ipc_sockets,         ipc_none, 0) \
	X(SOCKETS_COUNTED, 35, EITHER, ipc_sockets_counted, ipc_none, 0) \
	X(SOCKETS_CLOSE,   36, EITHER, ipc_sockets,         ipc_none, 0) \
	X(SOCKETS_CLOSED,  37, EITHER, ipc_sockets_closed,  ipc_none, 0) \
	X(FAILED,   40,   WORKER,     ipc_failed,   ipc_none,        0) \
	X(DISCONNECT, 41, SUPERVISOR, ipc_disconnect, ipc_none,      0) \
	X(LEAVING,  42,   WORKER,     ipc_none,     ipc_none,        0) \
	X(LIST,     45,   SUPERVISOR, ipc_list,     ipc_none,        0) \
	X(LISTED,   46,   WORKER,     ipc_listed,   ipc_listed_row,  0) \
	X(REST,     47,   SUPERVISOR, ipc_none,     ipc_none,        0) \
	X(RESTING,  48,   WORKER,     ipc_none,     ipc_none,        0) \
	X(RESUME,   49,   SUPERVISOR, ipc_none,     ipc_none,        0) \
	X(CLAIMS,   50,   SUPERVISOR, ipc_none,     ipc_none,        1)
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
#define IPC_FDS_MAX    253

/* A message that was received and passed every check of the table. */
struct ipc_message {
	enum ipc_type type;
	const void *body;
	const void *tail;
	size_t tail_count; /* elements */
	int *fds;          /* whoever takes one puts -1 in its place */
	size_t n_fds;
	bool lost; /* n_fds is 0, though there should be one for each element of the tail */
};

/* "HELLO" for IPC_HELLO; "?" for what is no type. */
const char *ipc_type_name(unsigned int type);

/* Builds the packet of a message into packet, which holds IPC_PACKET_MAX bytes. The sizes of body
 * and tail are the table's. Returns the packet's size, or -EMSGSIZE when the tail is too long or
 * has more descriptors than a packet can. */
int ipc_encode(enum ipc_type type, const void *body, const void *tail, size_t tail_count,
	       void *packet);

/* Checks a packet that sender sent and points ret into it; packet must be aligned for uint32_t.
 * n_fds may be IPC_FDS_LOST. Returns 0; or, with a sentence for the log in ret_why, -EOVERFLOW for
 * a message that is of no use without its descriptors, -EPROTO for any other fault. */
int ipc_decode(enum ipc_side sender, const void *packet, size_t size, size_t n_fds,
	       struct ipc_message *ret, const char **ret_why);

/* The number of descriptors of a message with so many elements in its tail. */
size_t ipc_fd_count(enum ipc_type type, size_t tail_count);

#endif
