/* getConnections over all workers: a question to each, one result.
 *
 * Each connection counts once, where it was when the question was asked. A worker that dies
 * meanwhile counts nothing, one that does not answer in time counts what it said last and what has
 * been handed to it since, and its row says so. What comes back from a worker before it has
 * answered waits, and so does what waited for one from the beginning.
 *
 * Owns:   the questions under way. ctx is borrowed until done is called.
 * Errors: functions return 0 or -errno.
 * Order:  done is called once for each question, never inside count_start().
 * Source: server.getConnections() of the specification. */
#ifndef USHER_DAEMON_COUNT_H
#define USHER_DAEMON_COUNT_H

#include "common/cluster/dispatch.h"
#include "daemon/child.h"

/* What a worker has to answer. */
#define COUNT_TIMEOUT_MS 1000

struct count_row {
	unsigned int worker;
	unsigned int slot;
	pid_t pid;
	enum child_state state;
	bool stale;            /* connections are those of an earlier answer */
	uint32_t *connections; /* by configured listener */
};

struct count_result {
	const struct count_row *rows;
	size_t n_rows;
	const uint32_t *waiting; /* by listener: accepted, and no worker has them */
};

typedef void count_fn(const struct count_result *result, void *ctx);

LIST_HEAD(count_queries, count_query);

/* All fields are the module's own. */
struct counter {
	struct ev_loop *loop;
	const struct child_list *children;
	const struct dispatcher *dispatcher;
	size_t n_listeners;
	uint32_t last_request;
	struct count_queries queries;
};

void counter_init(struct counter *counter, struct ev_loop *loop, const struct child_list *children,
		  const struct dispatcher *dispatcher, size_t n_listeners);

/* Answers every question under way with what is known. */
void counter_done(struct counter *counter);

/* Asks every worker that runs. */
int count_start(struct counter *counter, count_fn *done, void *ctx);

/* Takes a worker's COUNTED message. -EPROTO: it names what does not exist. */
int count_answer(struct counter *counter, struct child *child, const struct ipc_message *message);

/* What was on its way to a worker came back. */
void count_returned(struct counter *counter, const struct child *child,
		    const struct transit *transit);

/* The worker will answer no more. */
void count_forget(struct counter *counter, const struct child *child);

#endif
