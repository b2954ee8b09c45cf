/* Processes on a libev loop that serve together, in the words of Node.js's cluster module.
 *
 * A master forks workers. A server that listens in a worker listens on a socket of the master's,
 * which every worker that asks for the same shares; the sockets of one who ends stay with the
 * others. Master and workers send each other messages, and with them servers and sockets.
 *
 * The caller brings and runs the loop: in a master the default loop, which alone is told when a
 * process ends. As in <usher/net.h> nothing is thread-safe, every op may be NULL, and the zero
 * value of every struct of options means the documented defaults.
 *
 * Order:  no function of the caller's runs inside the call that caused it. In a master each worker
 *         has, at most once each and in this order, on_fork, on_online, then messages and
 *         on_listening, at last on_disconnect and on_exit; those two in either order. In a worker
 *         on_disconnect is the last. Of what was never sent completions and on_error may follow.
 * Owns:   ops and ctx are borrowed; settings and texts are copied. A worker's object is gone after
 *         both on_disconnect and on_exit, and one that its process opened after on_disconnect,
 *         unless cluster_worker_hold() was called. What a callback is given is valid until it
 *         returns.
 * Errors: functions return 0 or a negative number: -errno, or a value of enum net_err.
 * Source: the API documents of Node.js 8 and 10; prctl(2), PR_SET_PDEATHSIG. */
#ifndef USHER_CLUSTER_H
#define USHER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <usher/net.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLUSTER_API __attribute__((visibility("default")))

struct ev_loop;
struct cluster;        /* in a master: its workers */
struct cluster_worker; /* in a master one of its workers; in a worker itself, and what it does goes
			* to the master */

/* Who accepts the connections of a server that listens in workers. */
enum cluster_scheduling_policy {
	CLUSTER_SCHED_NONE, /* each worker, on the socket that all of them share */
	/* The master, who sends each connection to one of the workers that listen: */
	CLUSTER_SCHED_RR,                /* in turn */
	CLUSTER_SCHED_LEAST_CONNECTIONS, /* that with the fewest */
	CLUSTER_SCHED_SOURCE_HASH,       /* the same for each address of a client */
};

/* After cluster_worker_disconnect() a process has so long to end. */
#define CLUSTER_DISCONNECT_TIMEOUT_DEFAULT_MS 30000

/* What each fork executes, and as whom. */
struct cluster_settings {
	const char *exec;        /* NULL: the program that runs */
	const char *const *args; /* after argv[0], up to NULL; NULL: none */
	const char *const *env;  /* "NAME=value", added to the master's or in place of them */
	const char *cwd;         /* NULL: the master's */
	bool has_uid;            /* with either of them it has no other groups */
	bool has_gid;
	uid_t uid;
	gid_t gid;
	bool has_stdio;
	int stdio[3];                                     /* -1: /dev/null */
	enum cluster_scheduling_policy scheduling_policy; /* of the first fork, for all of them */
	unsigned disconnect_timeout_ms;                   /* 0: the default */
};

struct cluster_listening {
	const char *address; /* as it was asked for: a host, a path, or NULL */
	int address_type;    /* 4, 6, or -1 for a path */
	int port;            /* the real one; 0 for a path */
	int fd;              /* the descriptor in the master; not the caller's */
};

/* What came with a message is the receiver's, who gives it ops; at most one of the two is set. */
struct cluster_message {
	const void *data;
	size_t size;
	struct net_server *server;
	struct net_socket *socket;
};

struct cluster_send_options {
	struct net_server *server; /* its listening socket goes along, and here it listens on */
	struct net_socket *socket; /* goes along, and is gone here, without on_close */
	bool keep_open;            /* the socket stays open here as well */
};

/* The events of workers in a master. */
struct cluster_ops {
	void (*on_fork)(struct cluster *cluster, struct cluster_worker *worker, void *ctx);
	/* It runs, and has called cluster_worker_open(). */
	void (*on_online)(struct cluster *cluster, struct cluster_worker *worker, void *ctx);
	/* One of its servers listens, once for each listen. */
	void (*on_listening)(struct cluster *cluster, struct cluster_worker *worker,
			     const struct cluster_listening *listening, void *ctx);
	void (*on_message)(struct cluster *cluster, struct cluster_worker *worker,
			   const struct cluster_message *message, void *ctx);
	/* Nothing can be sent to it and nothing comes from it any more. */
	void (*on_disconnect)(struct cluster *cluster, struct cluster_worker *worker, void *ctx);
	/* code is -1 if it died of a signal, else signal is 0. */
	void (*on_exit)(struct cluster *cluster, struct cluster_worker *worker, int code,
			int signal, void *ctx);
	/* It could not execute its program (and on_exit follows), or does not keep to the rules of
	 * the channel (and is killed); or a message without a completion was lost. */
	void (*on_error)(struct cluster *cluster, struct cluster_worker *worker,
			 const struct net_error *error, void *ctx);
};

/* The events of a worker in its own process. */
struct cluster_worker_ops {
	/* While there is none, messages are kept, and the channel alone does not keep the loop
	 * running. */
	void (*on_message)(struct cluster_worker *worker, const struct cluster_message *message,
			   void *ctx);
	/* The channel is closed. If that was not asked for by cluster_worker_disconnect() in either
	 * process, the master is gone, and exit(3) with status 0 follows. */
	void (*on_disconnect)(struct cluster_worker *worker, void *ctx);
	void (*on_error)(struct cluster_worker *worker, const struct net_error *error, void *ctx);
};

typedef void cluster_fn(struct cluster *cluster, void *ctx);
typedef void cluster_sent_fn(struct cluster_worker *worker, int status, void *ctx);

/* --- a master -------------------------------------------------------------------------------- */

/* settings may be NULL. Returns -EINVAL (loop is not the default loop, scheduling_policy is none
 * of them), -ENOMEM, or -errno of opening the program that runs. */
CLUSTER_API int cluster_setup_master(struct ev_loop *loop, const struct cluster_settings *settings,
				     const struct cluster_ops *ops, void *ctx,
				     struct cluster **ret);

/* Settings for the forks from now on; as cluster_setup_master(), and -EBUSY for another
 * scheduling_policy after the first fork. */
CLUSTER_API int cluster_set_settings(struct cluster *cluster,
				     const struct cluster_settings *settings);

/* Closes the channels and the shared sockets; no function of the caller's runs after it. Workers
 * that are still there end by that, and nobody waits for them. NULL is fine. */
CLUSTER_API void cluster_free(struct cluster *cluster);

/* Starts a worker. env is as in the settings, goes before them, and may be NULL. That its program
 * cannot be executed is told by on_error and on_exit. Returns when the new process has closed its
 * copies of what is open here, or when that has taken half a second. Returns -errno of fork(2),
 * socketpair(2) and pipe(2), -ENOMEM. */
CLUSTER_API int cluster_fork(struct cluster *cluster, const char *const *env,
			     struct cluster_worker **ret);

/* Disconnects every worker that is not yet. disconnected, which may be NULL, is called when the
 * last of them is, never inside the call. Returns -ENOMEM. */
CLUSTER_API int cluster_disconnect(struct cluster *cluster, cluster_fn *disconnected, void *ctx);

/* The workers, in the order of their forks, without those that are told to disconnect or are both
 * disconnected and dead. The first one for NULL; NULL after the last, and after one that is not
 * among them. */
CLUSTER_API struct cluster_worker *cluster_next_worker(struct cluster *cluster,
						       struct cluster_worker *previous);

/* The ctx that was given to cluster_setup_master(). */
CLUSTER_API void *cluster_ctx(const struct cluster *cluster);

/* --- a process ------------------------------------------------------------------------------- */

/* Whether a master has forked this process, which holds whether or not it has opened. */
CLUSTER_API bool cluster_is_worker(void);
CLUSTER_API bool cluster_is_master(void);

/* Begins to be a worker, once in a process: from then on servers of this loop listen at the
 * master's, and processes that this one starts do not see the channel. When the master dies, so
 * does this process, by on_disconnect, or if it does not get to it, by SIGALRM soon after. For that
 * it takes the signal SIGRTMAX - 1. Returns -ENOTCONN (no worker), -EALREADY, -ENOMEM, -errno. */
CLUSTER_API int cluster_worker_open(struct ev_loop *loop, const struct cluster_worker_ops *ops,
				    void *ctx, struct cluster_worker **ret);

/* Other ops, in a worker itself; -EINVAL in a master. */
CLUSTER_API int cluster_worker_set_ops(struct cluster_worker *worker,
				       const struct cluster_worker_ops *ops, void *ctx);

/* --- a worker, in either process ------------------------------------------------------------- */

/* 1, 2, 3 and so on, never used again in a cluster. */
CLUSTER_API unsigned cluster_worker_id(const struct cluster_worker *worker);
CLUSTER_API pid_t cluster_worker_pid(const struct cluster_worker *worker);

/* Whether messages can be sent to the other process. */
CLUSTER_API bool cluster_worker_is_connected(const struct cluster_worker *worker);

/* Whether the process has ended. */
CLUSTER_API bool cluster_worker_is_dead(const struct cluster_worker *worker);

/* Whether it was told to disconnect, or has told so itself, before it disconnected. */
CLUSTER_API bool cluster_worker_exited_after_disconnect(const struct cluster_worker *worker);

/* Keeps the object beyond its last event, until as many releases; both count. */
CLUSTER_API void cluster_worker_hold(struct cluster_worker *worker);
CLUSTER_API void cluster_worker_release(struct cluster_worker *worker);

/* Sends size bytes, with a server or a socket if options, which may be NULL, say so. They arrive
 * whole, once, and in the order in which they were sent. Returns 1 if more is welcome, 0 if the
 * caller should wait for sent: 128 KiB wait here, or more than one message waits until the other
 * process has a server or socket. sent gets 0 when it is on its way, else why it never arrives.
 * Or returns, and then sent is not called, NET_ERR_IPC_CHANNEL_CLOSED, -EMSGSIZE (above 16 MiB),
 * -ENOBUFS (64 MiB wait), -ENOMEM, -EINVAL (a server and a socket); of a socket -EALREADY (it
 * connects), -ENOTCONN, -EBUSY (something is still to be written, or it is part of a pipe),
 * NET_ERR_STREAM_DESTROYED; of a server NET_ERR_SERVER_NOT_RUNNING, NET_ERR_INVALID_HANDLE_TYPE.
 * A socket leaves when it is its turn: what has ended by then does not go with its message. Its
 * server counts it further on, and asks the other process. */
CLUSTER_API int cluster_worker_send(struct cluster_worker *worker, const void *data, size_t size,
				    const struct cluster_send_options *options,
				    cluster_sent_fn *sent, void *ctx);

/* Lets it end in peace: what was sent before still arrives; its servers are closed, their last
 * connections awaited, and the channel is closed. In a master its shared sockets are given up at
 * once; a process that has not ended in time is sent SIGTERM, and later SIGKILL. Returns
 * NET_ERR_IPC_DISCONNECTED when that was asked for before, or there is no channel. */
CLUSTER_API int cluster_worker_disconnect(struct cluster_worker *worker);

/* In a master: sends the process a signal, and nothing more; -ESRCH after its end, -EINVAL. In a
 * worker: disconnects without awaiting connections, then calls exit(3) with status 0; signal does
 * not matter. */
CLUSTER_API int cluster_worker_kill(struct cluster_worker *worker, int signal);

#ifdef __cplusplus
}
#endif

#endif
