/* The connections of one worker by name, a page at a time.
 *
 * A worker that does not answer in time has a page that says so. Nothing is remembered from one
 * page to the next: who asks says where the last one has ended.
 *
 * Owns:   the questions under way. ctx is borrowed until done is called.
 * Errors: functions return 0 or -errno.
 * Order:  done is called once for each question, never inside list_start().
 * Source: common/ipc/messages.h, LIST and LISTED. */
#ifndef USHER_DAEMON_LIST_H
#define USHER_DAEMON_LIST_H

#include "daemon/child.h"

/* What a worker has to answer. */
#define LIST_TIMEOUT_MS 1000

enum list_end {
	LIST_ANSWERED,
	LIST_LATE, /* the worker did not answer in time */
	LIST_GONE, /* it has ended, and its connections with it */
};

struct list_page {
	enum list_end end;
	const struct ipc_listed_row *rows;
	size_t n_rows;
	uint64_t next_us; /* there are more before this one; 0: there are not */
};

typedef void list_fn(const struct list_page *page, void *ctx);

LIST_HEAD(list_queries, list_query);

/* All fields are the module's own. */
struct lister {
	struct ev_loop *loop;
	size_t n_listeners;
	uint32_t last_request;
	struct list_queries queries;
};

void lister_init(struct lister *lister, struct ev_loop *loop, size_t n_listeners);

/* Ends every question under way as LIST_LATE. */
void lister_done(struct lister *lister);

/* Asks for connections of a listener, or of IPC_LISTENERS_ALL, that are older than before_us; 0:
 * from the newest on. -EPIPE: the worker is about to end; what else its channel met. */
int list_start(struct lister *lister, struct child *child, uint32_t listener, uint64_t before_us,
	       list_fn *done, void *ctx);

/* Takes a worker's LISTED message. -EPROTO: no worker that is in order would say that. */
int list_answer(struct lister *lister, const struct child *child,
		const struct ipc_message *message);

/* The worker will answer no more. */
void list_forget(struct lister *lister, const struct child *child);

#endif
