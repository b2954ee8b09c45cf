/* Servers and sockets on a libev loop, in the words of Node.js's net module.
 *
 * The caller brings and runs the loop. Nothing here is thread-safe: an object belongs to the
 * thread that runs its loop. Events are functions in one struct of ops, each of which may be NULL,
 * called with the ctx given beside it; one-shot results go to a completion function, which may be
 * NULL too. The zero value of every options struct means the documented defaults.
 *
 * Order:  no function of the caller's runs inside the call that caused it. What is deferred runs
 *         in the order in which it was asked for, after the handler that asked returns and before
 *         the loop polls again. Any object may be closed, destroyed or freed in any callback; the
 *         loop must not be run in one.
 * Owns:   ops, ctx and a block list are borrowed: they must outlive the object. Data, texts and
 *         options are copied before the call returns. What a callback is given is valid until it
 *         returns.
 *         A server may listen again after it was closed, so it lives until net_server_free().
 *         A socket ends itself: on_close is its last event, and after it the object is gone
 *         unless net_socket_hold() was called; net_socket_connect() there begins a new life.
 * Errors: functions return 0 or a negative number: -errno, or a value of enum net_err. What comes
 *         back at once is not repeated as an event, unless said otherwise below.
 *         on_error without an op closes that socket or fails that listen, and nothing else.
 * Source: the API documents of Node.js 8 and 10; tcp(7), unix(7), ipv6(7). */
#ifndef USHER_NET_H
#define USHER_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NET_API __attribute__((visibility("default")))

struct ev_loop;
struct net_server;
struct net_socket;
struct net_block_list;
struct net_lookup;

/* --- errors and addresses ------------------------------------------------------------------- */

/* Conditions that have no errno; -4095 is the last value the kernel can return. */
enum net_err {
	NET_ERR_SERVER_ALREADY_LISTEN = -4101,
	NET_ERR_SERVER_NOT_RUNNING = -4102,
	NET_ERR_SOCKET_BAD_PORT = -4103,
	NET_ERR_MISSING_ARGS = -4104,
	NET_ERR_INVALID_ARG_VALUE = -4105,
	NET_ERR_OUT_OF_RANGE = -4106,
	NET_ERR_INVALID_IP_ADDRESS = -4107,
	NET_ERR_INVALID_ADDRESS_FAMILY = -4108,
	NET_ERR_INVALID_FD_TYPE = -4109,
	NET_ERR_INVALID_HANDLE_TYPE = -4110,
	NET_ERR_SOCKET_CLOSED = -4111,
	NET_ERR_SOCKET_CLOSED_BEFORE_CONNECTION = -4112,
	NET_ERR_SOCKET_CONNECTION_TIMEOUT = -4113,
	NET_ERR_STREAM_WRITE_AFTER_END = -4114,
	NET_ERR_STREAM_DESTROYED = -4115,
	NET_ERR_STREAM_ALREADY_FINISHED = -4116,
	NET_ERR_IP_BLOCKED = -4117,
	NET_ERR_NOT_FOUND = -4118,   /* "ENOTFOUND": the name has no address */
	NET_ERR_EAI_AGAIN = -4119,   /* the resolver may know later */
	NET_ERR_EAI_FAIL = -4120,    /* the resolver failed */
	NET_ERR_ALL_FAILED = -4121,  /* every address of a name failed; see net_error.errors */
	NET_ERR_WRITE_LIMIT = -4122, /* the peer never reads: write_limit bytes were waiting */
	NET_ERR_IPC_CHANNEL_CLOSED = -4123,
	NET_ERR_IPC_DISCONNECTED = -4124,
};

/* Room for an IPv6 address with its zone, and for a Unix path, each with its end. */
#define NET_ADDRESS_SIZE 112

struct net_address {
	/* "127.0.0.1", "fe80::1%eth0", "/run/x.sock", "@name", or "" */
	char address[NET_ADDRESS_SIZE];
	int family;    /* 4, 6, or 0 for a Unix socket and for none */
	uint16_t port; /* 0 when family is 0 */
};

struct net_error {
	int code;            /* -errno or enum net_err */
	const char *syscall; /* "listen", "connect", "read", ...; NULL if none was involved */
	const char *host;    /* the name that was looked up, or NULL */
	struct net_address address; /* what it was about; address.address is "" if nothing was */
	const char *text;           /* "connect ECONNREFUSED 127.0.0.1:80" */
	const struct net_error *errors; /* NET_ERR_ALL_FAILED: one for each attempt */
	size_t error_count;
};

/* "ECONNREFUSED", "ERR_SERVER_NOT_RUNNING"; "UNKNOWN" for what is none of ours. */
NET_API const char *net_error_name(int code);

/* "Connection refused", "Server is not running."; never NULL. */
NET_API const char *net_error_message(int code);

/* --- servers -------------------------------------------------------------------------------- */

struct net_drop {
	struct net_address local;
	struct net_address remote;
};

typedef void net_server_fn(struct net_server *server, int status, void *ctx);
typedef void net_count_fn(struct net_server *server, int status, size_t count, void *ctx);

struct net_server_ops {
	void (*on_listening)(struct net_server *server, void *ctx);
	/* The new socket has no ops yet: net_socket_set_ops() belongs here. Without this op a
	 * connection is accepted and closed at once. */
	void (*on_connection)(struct net_server *server, struct net_socket *socket, void *ctx);
	/* A connection was closed at once: max_connections or the block list. */
	void (*on_drop)(struct net_server *server, const struct net_drop *drop, void *ctx);
	/* A listen failed, and on_close does not follow; or accept(2) did (syscall is "accept"),
	 * and it goes on listening. */
	void (*on_error)(struct net_server *server, const struct net_error *error, void *ctx);
	/* Closed, and the last connection is gone: once for each time that it listened, unless it
	 * listens again by then. */
	void (*on_close)(struct net_server *server, void *ctx);
};

/* high_water_mark values: 0 is the default of 64 KiB. */
#define NET_HIGH_WATER_MARK_DEFAULT 65536
#define NET_HIGH_WATER_MARK_ZERO    UINT32_MAX

struct net_server_options {
	bool allow_half_open;  /* keep the writing side open after the peer has ended */
	bool pause_on_connect; /* read nothing before net_socket_resume() */
	bool no_delay;
	bool keep_alive;
	unsigned keep_alive_initial_delay_ms; /* whole seconds of it; 0: the system's */
	uint32_t high_water_mark;
	size_t write_limit; /* a socket with more bytes queued is destroyed; 0: no limit */
	const struct net_block_list *block_list; /* peers that are dropped */
};

/* What to listen on: the first that is given of server, socket, has_fd, has_port, path. None is
 * NET_ERR_INVALID_ARG_VALUE. */
struct net_listen_options {
	const struct net_server *server; /* share the descriptor of another listening server */
	const struct net_socket *socket; /* share a bound socket made by net_socket_new() */
	bool has_fd;
	/* A bound stream socket; the server owns it once the call has returned 0. In a worker, and
	 * not exclusive: the number of a descriptor of the supervisor's. */
	int fd;
	bool has_port;    /* needed for port 0 only */
	int port;         /* 0: any free one */
	const char *host; /* address or name; NULL: "::" for both families, else "0.0.0.0" */
	/* A Unix path of at most 107 bytes. "@name" is the abstract name; "./@name" is a file.
	 * The file is removed by close if it is still the one made here. */
	const char *path;
	int backlog;    /* 0: 511, or for a descriptor that listens already what it has */
	bool exclusive; /* in a worker: do not share the handle with other workers */
	bool ipv6_only;
	bool reuse_port;   /* SO_REUSEPORT */
	bool readable_all; /* chmod the path for everybody */
	bool writable_all;
};

/* options may be NULL. */
NET_API int net_create_server(struct ev_loop *loop, const struct net_server_options *options,
			      const struct net_server_ops *ops, void *ctx, struct net_server **ret);

/* Closes at once and frees. Connections stay and no longer belong to a server. No function of the
 * server's runs after this call, pending completions included. NULL is allowed. */
NET_API void net_server_free(struct net_server *server);

/* Starts to listen; NULL options: any free port on all addresses. done gets 0 just before
 * on_listening, or the error just before on_error. With no host, and for a path or descriptor, the
 * address is bound inside the call; a host is bound later. While one is being looked up, a second
 * listen replaces the first, whose done gets -ECANCELED.
 * Returns NET_ERR_SERVER_ALREADY_LISTEN, NET_ERR_SOCKET_BAD_PORT, NET_ERR_OUT_OF_RANGE (backlog),
 * NET_ERR_INVALID_ARG_VALUE, -ENAMETOOLONG and -EINVAL (path), -ENOMEM, -EMFILE (sharing a
 * descriptor), -errno of chmod(2); in a worker also -EPIPE (the supervisor is gone), -ESHUTDOWN (it
 * disconnects), -ENOBUFS (too much waits for the supervisor), -ENAMETOOLONG and -EINVAL (host);
 * done is not called then, and fd stays the caller's. After 0 an fd that cannot listen is closed.
 */
NET_API int net_server_listen(struct net_server *server, const struct net_listen_options *options,
			      net_server_fn *done, void *ctx);
NET_API int net_server_listen_port(struct net_server *server, int port, const char *host,
				   int backlog, net_server_fn *done, void *ctx);
NET_API int net_server_listen_path(struct net_server *server, const char *path, int backlog,
				   net_server_fn *done, void *ctx);
NET_API int net_server_listen_fd(struct net_server *server, int fd, int backlog,
				 net_server_fn *done, void *ctx);

/* Stops accepting, inside the call; connections stay. done gets 0 when the last of them is gone,
 * here and in other processes, just before on_close, or NET_ERR_SERVER_NOT_RUNNING on a later turn
 * if it was not listening. Returns 0 or -ENOMEM (closed all the same). */
NET_API int net_server_close(struct net_server *server, net_server_fn *done, void *ctx);

/* Destroys every connection of this server. */
NET_API void net_server_close_all_connections(struct net_server *server);

/* Where it listens: the address and port, or the path. -ENOTCONN when it does not listen. */
NET_API int net_server_address(const struct net_server *server, struct net_address *ret);
NET_API bool net_server_listening(const struct net_server *server);

/* Tells count how many connections are open, on a later turn, once: here, and in the processes that
 * some were sent to, of which one that does not answer within 2 seconds counts with its last known
 * figure. Returns 0 or -ENOMEM. net_server_connections() are those that are here. */
NET_API int net_server_get_connections(struct net_server *server, net_count_fn *count, void *ctx);
NET_API size_t net_server_connections(const struct net_server *server);

/* From now on connections beyond limit are closed at once and told to on_drop; 0 drops all,
 * NET_NO_LIMIT (the default) none. */
#define NET_NO_LIMIT (-1L)
NET_API void net_server_set_max_connections(struct net_server *server, long limit);
NET_API long net_server_max_connections(const struct net_server *server);

/* An unreferenced server does not keep the loop running. */
NET_API void net_server_ref(struct net_server *server);
NET_API void net_server_unref(struct net_server *server);

/* Replaces the ops and their ctx: for a server that came from another process. */
NET_API void net_server_set_ops(struct net_server *server, const struct net_server_ops *ops,
				void *ctx);

/* The ctx that was given with the ops. */
NET_API void *net_server_ctx(const struct net_server *server);

/* --- sockets -------------------------------------------------------------------------------- */

typedef void net_socket_fn(struct net_socket *socket, int status, void *ctx);

struct net_socket_ops {
	/* A name was resolved to address, once for each, before the first attempt; or status. */
	void (*on_lookup)(struct net_socket *socket, int status, const struct net_address *address,
			  const char *host, void *ctx);
	/* TCP only: one for each address that is tried, and for each that did not answer. */
	void (*on_connection_attempt)(struct net_socket *socket, const struct net_address *address,
				      void *ctx);
	void (*on_connection_attempt_failed)(struct net_socket *socket,
					     const struct net_address *address, int status,
					     void *ctx);
	void (*on_connect)(struct net_socket *socket, void *ctx);
	void (*on_ready)(struct net_socket *socket, void *ctx);
	/* Without this op data stays unread in the kernel until net_socket_resume(). */
	void (*on_data)(struct net_socket *socket, const void *data, size_t size, void *ctx);
	/* Both or none, and then on_data is not used: on_buffer gives room for the next read (NULL
	 * or size 0 ends the socket with -ENOBUFS), on_read says what came; false pauses. */
	void *(*on_buffer)(struct net_socket *socket, size_t *ret_size, void *ctx);
	bool (*on_read)(struct net_socket *socket, void *data, size_t size, void *ctx);
	/* After a write returned 0: nothing is queued any more. */
	void (*on_drain)(struct net_socket *socket, void *ctx);
	void (*on_end)(struct net_socket *socket, void *ctx);
	void (*on_finish)(struct net_socket *socket, void *ctx);
	void (*on_timeout)(struct net_socket *socket, void *ctx);
	/* That queued data cannot be sent is told after all that was received, unless paused. */
	void (*on_error)(struct net_socket *socket, const struct net_error *error, void *ctx);
	void (*on_close)(struct net_socket *socket, bool had_error, void *ctx);
};

struct net_socket_options {
	bool has_fd;
	/* A stream socket, owned once net_socket_new() has returned 0. A connection that is over
	 * already is one too, of which the end or the reset is told. */
	int fd;
	/* With has_fd: which sides may be used; neither set means both. */
	bool readable;
	bool writable;
	bool allow_half_open;
	uint32_t high_water_mark;
	size_t write_limit;
};

/* Answers a user's own lookup, see net_lookup_fn, with count addresses, of which the text and its
 * family count and the port does not; or with a negative status. */
NET_API void net_lookup_reply(struct net_lookup *lookup, int status,
			      const struct net_address *addresses, size_t count);

/* hints, as in getaddrinfo(3). */
enum { NET_HINT_ADDRCONFIG = 1, NET_HINT_V4MAPPED = 2, NET_HINT_ALL = 4 };

/* Looks host up in place of the system. Returns 0, after which net_lookup_reply(lookup, ...) must
 * be called exactly once, inside the call or at any later time on the loop's thread (even when the
 * socket is gone by then); or a negative status, and no reply. */
typedef int net_lookup_fn(struct net_lookup *lookup, const char *host, int family, int hints,
			  void *ctx);

struct net_connect_options {
	const char *path; /* a Unix path or "@name": everything below but timeout_ms is ignored */
	bool has_port;    /* needed for port 0 only */
	int port;
	const char *host;          /* NULL: "localhost" */
	const char *local_address; /* an address, not a name */
	int local_port;
	int family; /* 4 or 6: only that one, and only its first address; 0: all, RFC 8305 */
	int hints;
	net_lookup_fn *lookup; /* NULL: the system's resolver, off the loop */
	void *lookup_ctx;
	unsigned attempt_delay_ms; /* until the next address is tried too; 0: 250, at least 10 */
	unsigned timeout_ms;       /* as net_socket_set_timeout() before the call */
	const struct net_block_list *block_list;
};

enum net_encoding {
	NET_ENCODING_NONE, /* on_data gets the bytes as they come */
	NET_ENCODING_UTF8,
	NET_ENCODING_UTF16LE,
	NET_ENCODING_LATIN1,
	NET_ENCODING_ASCII,
	NET_ENCODING_BASE64,
	NET_ENCODING_BASE64URL,
	NET_ENCODING_HEX,
};

/* The encoding of that name, in any case: "utf8", "utf-8", "utf16le", "utf-16le", "ucs2", "ucs-2",
 * "latin1", "binary", "ascii", "base64", "base64url", "hex". -EINVAL for any other, and NULL. */
NET_API int net_encoding_by_name(const char *name);

enum net_ready_state {
	NET_CLOSED,
	NET_OPENING,
	NET_OPEN,
	NET_READ_ONLY,
	NET_WRITE_ONLY,
};

/* options may be NULL. Returns NET_ERR_INVALID_FD_TYPE if fd is no stream socket (fd stays the
 * caller's), -ENOMEM. A socket that never connects ends by net_socket_destroy(). */
NET_API int net_socket_new(struct ev_loop *loop, const struct net_socket_options *options,
			   const struct net_socket_ops *ops, void *ctx, struct net_socket **ret);

/* Replaces the ops and their ctx. Data that came before on_data was there is not lost. */
NET_API void net_socket_set_ops(struct net_socket *socket, const struct net_socket_ops *ops,
				void *ctx);
NET_API void *net_socket_ctx(const struct net_socket *socket);

/* Keeps the object after on_close until net_socket_release(); both count. */
NET_API void net_socket_hold(struct net_socket *socket);
NET_API void net_socket_release(struct net_socket *socket);

/* Connects; connected gets 0 just before on_connect, or the error just before on_error (-ECANCELED
 * if the socket was destroyed first). A destroyed socket whose on_close has come begins a new life:
 * counters are 0, set_no_delay and set_keep_alive persist. Returns -EALREADY while connecting,
 * -EISCONN, -EINVAL (it was made from a descriptor), NET_ERR_STREAM_DESTROYED (on_close is still to
 * come, or it was sent away in this turn of the loop), NET_ERR_MISSING_ARGS,
 * NET_ERR_SOCKET_BAD_PORT, NET_ERR_INVALID_IP_ADDRESS (local_address),
 * NET_ERR_INVALID_ADDRESS_FAMILY, NET_ERR_OUT_OF_RANGE (attempt_delay_ms), -ENAMETOOLONG, -EINVAL
 * (empty abstract name), -ENOMEM, or what a resolver's start can return. */
NET_API int net_socket_connect(struct net_socket *socket, const struct net_connect_options *options,
			       net_socket_fn *connected, void *ctx);
NET_API int net_socket_connect_port(struct net_socket *socket, int port, const char *host,
				    net_socket_fn *connected, void *ctx);
NET_API int net_socket_connect_path(struct net_socket *socket, const char *path,
				    net_socket_fn *connected, void *ctx);

/* net_socket_new() and net_socket_connect() in one. socket_options may be NULL. */
NET_API int net_create_connection(struct ev_loop *loop, const struct net_connect_options *options,
				  const struct net_socket_options *socket_options,
				  const struct net_socket_ops *ops, void *ctx,
				  struct net_socket **ret);
NET_API int net_connect(struct ev_loop *loop, const struct net_connect_options *options,
			const struct net_socket_options *socket_options,
			const struct net_socket_ops *ops, void *ctx, struct net_socket **ret);

/* Sends size bytes, or queues a copy of what the kernel does not take. Returns 1 if more is
 * welcome, 0 if the caller should wait for on_drain because high_water_mark bytes are queued.
 * written runs once: 0 when the kernel has it all, else the error, which is also returned when it
 * is known at once, and destroys the socket: NET_ERR_STREAM_WRITE_AFTER_END, -EPIPE (the peer has
 * ended and so have we), NET_ERR_STREAM_DESTROYED, NET_ERR_SOCKET_CLOSED (never connected),
 * NET_ERR_WRITE_LIMIT, -errno of send(2), -ENOMEM after a part was sent. Otherwise -ENOMEM, and
 * -EINVAL for parts that make no sense: nothing was taken, written does not run, and the socket
 * goes on, as net_socket_destroyed() tells. */
NET_API int net_socket_write(struct net_socket *socket, const void *data, size_t size,
			     net_socket_fn *written, void *ctx);
NET_API int net_socket_writev(struct net_socket *socket, const struct iovec *parts, int count,
			      net_socket_fn *written, void *ctx);

/* Between the two, writes are only gathered; both count. The last uncork sends. */
NET_API void net_socket_cork(struct net_socket *socket);
NET_API void net_socket_uncork(struct net_socket *socket);

/* Writes data (if size is not 0), then ends our side when the queue is empty. finished runs once,
 * just before on_finish. Returns 0, or as net_socket_write(); a second end without data is 0, and
 * its finished gets NET_ERR_STREAM_ALREADY_FINISHED after on_finish. */
NET_API int net_socket_end(struct net_socket *socket, const void *data, size_t size,
			   net_socket_fn *finished, void *ctx);

/* Closes the descriptor inside the call; a second call does nothing. Later: on_error if error is
 * not 0, the completions of queued writes, on_close. Those get error, or -ECANCELED (cut off
 * halfway), NET_ERR_SOCKET_CLOSED_BEFORE_CONNECTION, NET_ERR_STREAM_DESTROYED. */
NET_API void net_socket_destroy(struct net_socket *socket, int error);

/* Ends our side and destroys when everything queued is sent, not waiting for the peer's end. */
NET_API int net_socket_destroy_soon(struct net_socket *socket);

/* Closes a TCP connection with a reset. While connecting it waits for the connection. Returns
 * NET_ERR_SOCKET_CLOSED, NET_ERR_INVALID_HANDLE_TYPE (not TCP), -EINVAL (our side has ended). */
NET_API int net_socket_reset_and_destroy(struct net_socket *socket);

/* Puts size bytes back, before all that is still to be read: they are the next to be told, here or
 * in the process that the socket is sent to. Returns NET_ERR_STREAM_DESTROYED, -EINVAL (the end
 * was told), -ENOBUFS (more than 1 MiB), -ENOMEM. */
NET_API int net_socket_unshift(struct net_socket *socket, const void *data, size_t size);

NET_API void net_socket_pause(struct net_socket *socket);
NET_API void net_socket_resume(struct net_socket *socket);
NET_API bool net_socket_is_paused(const struct net_socket *socket);

/* Sends all that from receives to to, waiting for to as needed, and ends to when from ends; to may
 * be from, which echoes. Bulk moves by splice(2), inside the kernel, unless another process may
 * have one of the two as well. The data is not told, but the end is; an encoding does not matter.
 * When either closes or to ends, the pipe ends; the other one stays. When from has ended already,
 * to ends and there is no pipe. Returns -EINVAL (the two are on different loops), -EALREADY (from
 * has a destination or to a source), NET_ERR_STREAM_DESTROYED (also if to was ended), -ENOMEM, and
 * for a from that has ended NET_ERR_SOCKET_CLOSED (to never connected, and is destroyed by this).
 */
NET_API int net_socket_pipe(struct net_socket *from, struct net_socket *to);
NET_API void net_socket_unpipe(struct net_socket *from);

/* From now on on_data gets text: UTF-8 made of UTF-8, UTF-16, Latin 1 or ASCII, with no sequence
 * split between two calls, or digits in base64, base64url or hex; on_read still gets bytes. Returns
 * NET_ERR_INVALID_ARG_VALUE, -ENOMEM. */
NET_API int net_socket_set_encoding(struct net_socket *socket, enum net_encoding encoding);

/* Calls expired (once) and on_timeout when nothing was sent or received for ms milliseconds, once
 * until the next activity. 0 disarms. expired is dropped when the timeout is set anew, disarmed
 * or the socket destroyed. ms above 2^31-1 counts as that. After destroy it does nothing. Returns
 * -ENOMEM, NET_ERR_OUT_OF_RANGE if ms is negative. */
NET_API int net_socket_set_timeout(struct net_socket *socket, long long ms, net_socket_fn *expired,
				   void *ctx);
NET_API unsigned net_socket_timeout(const struct net_socket *socket);

/* Remembered before there is a connection. No effect on Unix sockets. Of the delay whole seconds
 * count; less than one leaves it as it is. Return -errno of setsockopt(2), -ENOMEM. */
NET_API int net_socket_set_no_delay(struct net_socket *socket, bool enable);
NET_API int net_socket_set_keep_alive(struct net_socket *socket, bool enable,
				      long initial_delay_ms);

/* 0 to 255, as IP_TOS in ip(7). Remembered before there is a connection; no effect on Unix sockets.
 * Returns NET_ERR_OUT_OF_RANGE, -ENOMEM, -errno of setsockopt(2). */
NET_API int net_socket_set_type_of_service(struct net_socket *socket, int value);
NET_API int net_socket_type_of_service(const struct net_socket *socket);

/* The local address, as asked from the kernel; -ENOTCONN without a connection. */
NET_API int net_socket_address(const struct net_socket *socket, struct net_address *ret);
NET_API int net_socket_local_address(const struct net_socket *socket, struct net_address *ret);
NET_API int net_socket_local_port(const struct net_socket *socket);
NET_API int net_socket_local_family(const struct net_socket *socket);
/* The peer: known from accept or connect on, and still after the end. */
NET_API int net_socket_remote_address(const struct net_socket *socket, struct net_address *ret);
NET_API int net_socket_remote_port(const struct net_socket *socket);
NET_API int net_socket_remote_family(const struct net_socket *socket);

/* Bytes that came from the peer; those that were unshifted are not counted again. */
NET_API uint64_t net_socket_bytes_read(const struct net_socket *socket);
NET_API uint64_t net_socket_bytes_written(const struct net_socket *socket);
/* Bytes that are queued in this process; writable_length is its later name. */
NET_API size_t net_socket_buffer_size(const struct net_socket *socket);
NET_API size_t net_socket_writable_length(const struct net_socket *socket);
NET_API bool net_socket_connecting(const struct net_socket *socket);
NET_API bool net_socket_pending(const struct net_socket *socket);
NET_API bool net_socket_destroyed(const struct net_socket *socket);
NET_API enum net_ready_state net_socket_ready_state(const struct net_socket *socket);

NET_API void net_socket_ref(struct net_socket *socket);
NET_API void net_socket_unref(struct net_socket *socket);

/* The server that accepted it; NULL for a client, for what came from another process, and after
 * net_server_free(). */
NET_API struct net_server *net_socket_server(const struct net_socket *socket);

/* --- helpers -------------------------------------------------------------------------------- */

/* 4, 6, or 0: strict dotted quads, RFC 4291 with an optional %zone, anything else. */
NET_API int net_is_ip(const char *text);
NET_API bool net_is_ipv4(const char *text);
NET_API bool net_is_ipv6(const char *text);

/* A set of addresses. Whoever uses it borrows it. add_* return NET_ERR_INVALID_IP_ADDRESS,
 * NET_ERR_INVALID_ARG_VALUE (first after last, two families), NET_ERR_OUT_OF_RANGE (prefix),
 * -ENOMEM. */
NET_API int net_block_list_new(struct net_block_list **ret);
NET_API void net_block_list_free(struct net_block_list *list);
NET_API int net_block_list_add_address(struct net_block_list *list, const char *address);
NET_API int net_block_list_add_range(struct net_block_list *list, const char *first,
				     const char *last);
NET_API int net_block_list_add_subnet(struct net_block_list *list, const char *network,
				      unsigned prefix);
/* Whether the address is in the set; an IPv4-mapped IPv6 address counts as its IPv4 one. */
NET_API bool net_block_list_check(const struct net_block_list *list, const char *address);
/* Tells each rule, in the order they were added: "Address: IPv4 192.0.2.1",
 * "Range: IPv4 192.0.2.1-192.0.2.9", "Subnet: IPv6 2001:db8::/32". */
typedef void net_block_list_rule_fn(const char *rule, void *ctx);
NET_API void net_block_list_rules(const struct net_block_list *list, net_block_list_rule_fn *tell,
				  void *ctx);

#ifdef __cplusplus
}
#endif

#endif
