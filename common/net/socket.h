/* What the modules of a socket share: its state, and the few steps that cross their borders.
 *
 *   socket          life: made, destroyed, closed, freed
 *   socket_read     bytes in
 *   socket_write    bytes out, end, cork
 *   socket_connect  from a name to a connection
 *   socket_pipe     from one socket to another
 *   socket_timeout  idle time
 *   socket_info     getters and kernel options
 *
 * Owns:   a socket holds one reference to itself until on_close has run; every request and every
 *         net_socket_hold() holds one more. A destroyed socket stays in memory at least until its
 *         deferred close, so handlers need no reference while they call out.
 * Memory: what an idle connection does not need lives in struct socket_extra, made on demand.
 *         tests/unit/test_net_memory.c holds the size of struct net_socket to its limit. */
#ifndef USHER_COMMON_NET_SOCKET_H
#define USHER_COMMON_NET_SOCKET_H

#include <ev.h>
#include <netinet/in.h>
#include <sys/queue.h>

#include "common/net/addr.h"
#include "common/net/context.h"
#include "common/net/decoder.h"
#include "common/net/error.h"
#include "common/net/net.h"
#include "common/net/queue.h"

enum read_state {
	READ_UNDECIDED, /* nobody asked for data: it stays in the kernel, an end is told */
	READ_FLOWING,
	READ_PAUSED, /* by the user: not even an end is told */
};

/* Which system call an error came from, for its text. */
enum socket_call { CALL_NONE, CALL_READ, CALL_WRITE, CALL_SHUTDOWN, CALL_CONNECT, CALL_LOOKUP };

/* A completion function that waits for its turn. */
struct request {
	STAILQ_ENTRY(request) link;
	struct defer call;
	struct net_socket *socket;
	net_socket_fn *fn;
	void *ctx;
	int status;
};
STAILQ_HEAD(request_list, request);

struct connecting;
struct socket_pipe;

/* More than this cannot be unshifted. */
#define SOCKET_UNSHIFT_MAX (1u << 20)

/* Bytes that were read, by whomever, and are still to be told. */
struct unread {
	char *data;
	size_t begin;
	size_t size;
};

struct socket_timeout {
	ev_timer timer; /* runs while armed; see socket_timeout.c */
	double active;  /* when something last moved, in seconds of CLOCK_MONOTONIC */
	unsigned ms;    /* 0: disarmed */
	net_socket_fn *fn;
	void *ctx;
};

struct socket_extra {
	struct socket_timeout timeout;
	struct connecting *connecting;
	struct decoder decoder;
	struct unread unread;
	unsigned transfers;           /* so often it waits to be sent to another process */
	struct socket_pipe *pipe_out; /* this socket is its source */
	struct socket_pipe *pipe_in;  /* this socket is its destination */
	char *path;                   /* of a Unix peer that was connected to */
	size_t write_limit;
	unsigned keep_alive_initial_delay_ms;
	uint8_t type_of_service;
};

/* What every message touches comes first, close together. */
struct net_socket {
	ev_io io; /* fd is -1 without a descriptor */
	struct net_context *context;
	const struct net_socket_ops *ops; /* never NULL */
	void *ctx;
	struct socket_extra *extra;
	struct queue queue;
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint16_t corked;
	uint8_t failed_call; /* enum socket_call */
	uint8_t read_state;  /* enum read_state */

	bool is_tcp : 1;
	bool allow_half_open : 1;
	bool unreferenced : 1;
	bool no_delay : 1;
	bool keep_alive : 1;
	bool connecting : 1;
	bool connected : 1;    /* once there was a connection, also after its end */
	bool resumed : 1;      /* by the user: data may be dropped if there is no on_data */
	bool read_short : 1;   /* the last read took all there was */
	bool data_waits : 1;   /* undecided, and there is something to read */
	bool eof : 1;          /* the peer has ended */
	bool end_told : 1;     /* on_end has run */
	bool ending : 1;       /* net_socket_end() was called, or we end because the peer did */
	bool auto_ended : 1;   /* the latter */
	bool shut : 1;         /* our side has ended */
	bool drain_due : 1;    /* a write returned 0 since the last on_drain */
	bool drain_waits : 1;  /* in write_call */
	bool finish_waits : 1; /* in write_call */
	bool finish_told : 1;  /* on_finish has run */
	bool destroy_soon : 1; /* destroy when our side has ended */
	bool reset_on_connect : 1;
	bool destroyed : 1;
	bool closed : 1;  /* on_close has run, or it went to another process */
	bool failing : 1; /* sending has: nothing is sent, and that is told after what came before
			   */
	bool shared : 1;  /* another process may have the descriptor as well, and let it block */

	struct net_server *server;
	LIST_ENTRY(net_socket) link;  /* in its server's list until on_close */
	struct request_list requests; /* answered when our side has ended, or at the close */
	uint64_t accepted_us;         /* see context_now_us(); 0: not by a server */
	struct defer read_call;       /* early and unread data, on_end, our end that follows it */
	struct defer write_call;      /* on_drain or on_finish */
	struct defer close_call;
	struct sockaddr_in6 peer; /* or an IPv4 address in its place; family 0: none */
	int error;
	uint32_t high_water_mark;
	uint32_t refs;
};

/* --- socket ---------------------------------------------------------------------------------- */

/* A socket without a descriptor; the context's reference is taken over on success. */
int socket_create(struct net_context *context, struct net_socket **ret);

/* Gives fd, a connected socket, to s, which does not watch it yet; peer may be NULL. */
void socket_attach(struct net_socket *s, int fd, const struct addr *peer);

/* mark is an option as the user gave it: 0 leaves the default. */
void socket_set_high_water_mark(struct net_socket *s, uint32_t mark);

/* 0: none. Returns 0 or -ENOMEM. */
int socket_set_write_limit(struct net_socket *s, size_t limit);

/* Destroys s; error 0 is none. The first call wins. */
void socket_fail(struct net_socket *s, int error, enum socket_call call);

/* Takes the descriptor out, as if s were closed, but without events. */
int socket_take_fd(struct net_socket *s);

/* Begins a new life after on_close: counters and marks are as new; ops and options stay. */
void socket_reopen(struct net_socket *s);

/* Destroys s if both sides have ended and both were told. */
void socket_end_if_done(struct net_socket *s);

/* Watches for what s wants to do now, and for nothing else. */
void socket_update(struct net_socket *s);

/* Forgets the server that accepted s. */
void socket_leave_server(struct net_socket *s);

int socket_get_extra(struct net_socket *s, struct socket_extra **ret);

void socket_get_peer(const struct net_socket *s, struct addr *ret);

/* --- requests -------------------------------------------------------------------------------- */

/* *ret is NULL if fn is. */
int request_new(struct net_socket *s, net_socket_fn *fn, void *ctx, struct request **ret);
/* Answers on a later turn. NULL is allowed. */
void request_complete(struct request *request, int status);
/* Answers at once: only from a deferred call. */
void request_answer(struct request *request, int status);
void request_free(struct request *request);

/* --- socket_read ----------------------------------------------------------------------------- */

bool read_wanted(const struct net_socket *s);
void read_ready(struct net_socket *s);
/* Sending has failed: tells what was received before that. */
void read_rest(struct net_socket *s);
/* For one that was just accepted: looks soon, without being woken, what came along. */
void read_early(struct net_socket *s);
/* Tells later what is unread, if somebody wants it now. */
void read_update(struct net_socket *s);
/* As net_socket_unshift(), without its limit. */
int read_put_back(struct net_socket *s, const void *data, size_t size);
/* Whether ops has somebody for the data. */
void read_ops_changed(struct net_socket *s);

/* --- socket_write ---------------------------------------------------------------------------- */

bool write_wanted(const struct net_socket *s);
void write_ready(struct net_socket *s);
/* Sending has failed: what was received before is told, and s destroyed. Not inside a call. */
void write_failed(struct net_socket *s, int error);
/* As net_socket_write(), but what was received before a failure is told. Not inside a call. */
int write_piece(struct net_socket *s, const void *data, size_t size);
/* Whether so many bytes more may be queued, by its write_limit. */
bool write_has_room(const struct net_socket *s, size_t size);
/* Sends what waited for the connection. */
void write_connected(struct net_socket *s);
/* Ends our side, as the peer has ended. */
void write_auto_end(struct net_socket *s);
/* Puts size bytes that are to be read from fd before all that waits. Failing destroys s. */
void write_queue_from(struct net_socket *s, int fd, size_t size);
/* Drops the queue and answers all requests, from the deferred close. */
void write_abandon(struct net_socket *s);

/* --- socket_pipe ----------------------------------------------------------------------------- */

/* pipe may be NULL for the first three. A full one waits for its destination. */
bool pipe_is_full(const struct socket_pipe *pipe);
/* Whether its destination may keep so many bytes more, by its write_limit. */
bool pipe_has_room(const struct socket_pipe *pipe, size_t size);
/* Whether the next bytes go by splice(2), inside the kernel. */
bool pipe_splices(const struct socket_pipe *pipe);
/* Moves some bytes from the source; as recv(2), with a negative error. */
ssize_t pipe_splice(struct socket_pipe *pipe);
/* Sends what was read from the source. */
void pipe_copy(struct socket_pipe *pipe, const void *data, size_t size);
/* The source has ended: so will the destination. */
void pipe_end(struct socket_pipe *pipe);
/* Bytes of pipe that are inside the kernel, on their way to s. */
size_t pipe_pending(const struct net_socket *s);
/* s is writable: sends those. Returns 0, or how that failed. */
int pipe_push(struct net_socket *s);
/* Nothing is queued for s any more. */
void pipe_drained(struct net_socket *s);
/* s takes no more: the pipe into it ends. */
void pipe_stop_in(struct net_socket *s);
/* s is destroyed: its pipes end. */
void pipe_break(struct net_socket *s);

/* --- socket_connect -------------------------------------------------------------------------- */

/* Stops what is under way; late results are discarded. */
void connect_cancel(struct net_socket *s);
/* From the deferred close: answers the completion, tells how connecting failed (if it did, and
 * returns whether), frees what is left of it. */
void connect_abandon(struct net_socket *s);
bool connect_tell_error(struct net_socket *s);
void connect_forget(struct net_socket *s);

/* --- socket_timeout -------------------------------------------------------------------------- */

void timeout_touch_armed(struct net_socket *s);
void timeout_stop(struct net_socket *s);

/* Something was sent or received. */
static inline void timeout_touch(struct net_socket *s)
{
	if (s->extra && s->extra->timeout.ms > 0)
		timeout_touch_armed(s);
}

/* --- socket_info ----------------------------------------------------------------------------- */

/* Sets on the descriptor what was remembered before there was one. */
int info_apply_options(struct net_socket *s);

#endif
