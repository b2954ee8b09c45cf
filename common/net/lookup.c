#include "common/net/lookup.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "common/macros.h"

/* So many are delivered per wake-up, that a busy resolver cannot starve the loop. */
#define DELIVERED_PER_WAKEUP 64

/* Where the kernel has no room for one watch more, results are looked for after this. */
#define PAUSE_S 0.1

enum state {
	QUEUED,    /* in pool.queue */
	RUNNING,   /* a thread asks */
	FINISHED,  /* in mailbox->finished */
	DELIVERING /* its callback runs */
};

struct lookup {
	TAILQ_ENTRY(lookup) link;
	enum state state;
	struct mailbox *mailbox; /* NULL: cancelled while it ran */
	lookup_fn *done;
	void *ctx;
	int status;
	struct resolve_request request;
	struct resolve_result result;
	char host[]; /* of the request */
};

TAILQ_HEAD(lookup_list, lookup);

/* Where a loop's results arrive. It exists as long as the loop has something pending, so that its
 * active watcher keeps the loop alive for just that time. The descriptor is our own because
 * ev_async_start() aborts the process when there is none left for its pipe. */
struct mailbox {
	LIST_ENTRY(mailbox) link;
	struct ev_loop *loop;
	ev_io watcher;
	ev_timer pause; /* the watcher is refused */
	int event;
	unsigned users; /* pending lookups, and on_wakeup() while it runs */
	struct lookup_list finished;
};

/* The mutex guards all this, the users and finished of each mailbox, and the link, state and
 * mailbox of each lookup. The rest of a lookup is the thread's while it is RUNNING, else the
 * loop's. */
static struct {
	pthread_mutex_t mutex;
	pthread_once_t once;
	struct lookup_list queue;
	LIST_HEAD(, mailbox) mailboxes;
	unsigned threads;
	unsigned pending;
} pool = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.once = PTHREAD_ONCE_INIT,
	.queue = TAILQ_HEAD_INITIALIZER(pool.queue),
};

static void lock(void)
{
	pthread_mutex_lock(&pool.mutex);
}

static void unlock(void)
{
	pthread_mutex_unlock(&pool.mutex);
}

/* The child has none of the threads, and what they were doing ends in the parent. */
static void start_anew(void)
{
	TAILQ_INIT(&pool.queue);
	LIST_INIT(&pool.mailboxes);
	pool.threads = 0;
	pool.pending = 0;
	unlock();
}

static void watch_forks(void)
{
	pthread_atfork(lock, unlock, start_anew);
}

static int lookup_new(const struct resolve_request *request, lookup_fn *done, void *ctx,
		      struct lookup **ret)
{
	size_t host_size = strlen(request->host) + 1;
	struct lookup *lookup = calloc(1, sizeof(*lookup) + host_size);

	if (!lookup)
		return -ENOMEM;

	memcpy(lookup->host, request->host, host_size);
	lookup->request = *request;
	lookup->request.host = lookup->host;
	lookup->done = done;
	lookup->ctx = ctx;
	*ret = lookup;
	return 0;
}

static void lookup_free(struct lookup *lookup)
{
	free(lookup->result.addresses);
	free(lookup);
}

static void finish_locked(struct lookup *lookup)
{
	struct mailbox *mailbox = lookup->mailbox;

	if (!mailbox) {
		pool.pending--;
		lookup_free(lookup);
		return;
	}
	lookup->state = FINISHED;
	TAILQ_INSERT_TAIL(&mailbox->finished, lookup, link);
	eventfd_write(mailbox->event, 1); /* cannot fail: far from the counter's end */
}

static void *run_queue(void *unused)
{
	struct lookup *lookup;

	lock();
	while ((lookup = TAILQ_FIRST(&pool.queue))) {
		TAILQ_REMOVE(&pool.queue, lookup, link);
		lookup->state = RUNNING;
		unlock();

		lookup->status = resolve_name(&lookup->request, &lookup->result);

		lock();
		finish_locked(lookup);
	}
	pool.threads--;
	unlock();
	return NULL;
}

/* Signals are left to the program's own threads. */
static int start_thread(void)
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, NULL, run_queue, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return -error;

	pthread_detach(thread);
	return 0;
}

static int enqueue_locked(struct lookup *lookup)
{
	if (pool.threads < LOOKUP_THREADS) {
		int error = start_thread();

		if (error == 0)
			pool.threads++;
		else if (pool.threads == 0)
			return error; /* a running one would have come to this lookup too */
	}
	lookup->state = QUEUED;
	TAILQ_INSERT_TAIL(&pool.queue, lookup, link);
	return 0;
}

static struct lookup *take_finished(struct mailbox *mailbox)
{
	struct lookup *lookup;
	eventfd_t count;

	lock();
	lookup = TAILQ_FIRST(&mailbox->finished);
	if (lookup) {
		TAILQ_REMOVE(&mailbox->finished, lookup, link);
		lookup->state = DELIVERING;
		mailbox->users--;
		pool.pending--;
	} else {
		eventfd_read(mailbox->event, &count); /* EAGAIN: was read before */
	}
	unlock();
	return lookup;
}

/* No thread wakes a mailbox without users: it would have a lookup that is one. */
static void mailbox_leave(struct mailbox *mailbox)
{
	lock();
	bool used = --mailbox->users > 0;
	if (!used)
		LIST_REMOVE(mailbox, link);
	unlock();

	if (used)
		return;
	ev_io_stop(mailbox->loop, &mailbox->watcher);
	ev_timer_stop(mailbox->loop, &mailbox->pause);
	close(mailbox->event);
	free(mailbox);
}

/* The descriptor stays readable, and so calls again, until all is delivered. */
static void on_wakeup(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct mailbox *mailbox = CONTAINER_OF(watcher, struct mailbox, watcher);
	struct lookup *lookup;

	if (events & EV_ERROR) {
		ev_timer_set(&mailbox->pause, PAUSE_S, 0);
		ev_timer_start(loop, &mailbox->pause);
	}

	lock();
	mailbox->users++; /* callbacks may cancel the last lookup */
	unlock();

	for (int i = 0; i < DELIVERED_PER_WAKEUP && (lookup = take_finished(mailbox)); i++) {
		lookup->done(lookup->status, lookup->result.addresses, lookup->result.count,
			     lookup->ctx);
		lookup_free(lookup);
	}
	mailbox_leave(mailbox);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_io_start(loop, &CONTAINER_OF(timer, struct mailbox, pause)->watcher);
}

static int mailbox_new(struct ev_loop *loop, struct mailbox **ret)
{
	AUTO_CLOSE int event = -1;

	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event == -1)
		return -errno;

	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
	if (!mailbox)
		return -ENOMEM;

	TAILQ_INIT(&mailbox->finished);
	mailbox->loop = loop;
	mailbox->event = take_fd(&event);
	ev_init(&mailbox->pause, on_pause_over);
	ev_io_init(&mailbox->watcher, on_wakeup, mailbox->event, EV_READ);
	ev_io_start(loop, &mailbox->watcher);
	*ret = mailbox;
	return 0;
}

static int mailbox_enter_locked(struct ev_loop *loop, struct mailbox **ret)
{
	struct mailbox *mailbox;
	int error;

	LIST_FOREACH (mailbox, &pool.mailboxes, link) {
		if (mailbox->loop == loop)
			break;
	}
	if (!mailbox) {
		error = mailbox_new(loop, &mailbox);
		if (error < 0)
			return error;
		LIST_INSERT_HEAD(&pool.mailboxes, mailbox, link);
	}
	mailbox->users++;
	*ret = mailbox;
	return 0;
}

static int admit(struct ev_loop *loop, struct lookup *lookup)
{
	int error = -ENOBUFS;

	lock();
	if (pool.pending < LOOKUP_PENDING_MAX)
		error = mailbox_enter_locked(loop, &lookup->mailbox);
	if (error == 0)
		pool.pending++;
	unlock();
	return error;
}

static int submit(struct lookup *lookup)
{
	bool literal = resolve_literal(&lookup->request, &lookup->status, &lookup->result);
	int error = 0;

	lock();
	if (literal)
		finish_locked(lookup);
	else
		error = enqueue_locked(lookup);
	if (error < 0)
		pool.pending--;
	unlock();
	return error;
}

int lookup_start(struct ev_loop *loop, const struct resolve_request *request, lookup_fn *done,
		 void *ctx, struct lookup **ret)
{
	struct lookup *lookup;
	int error;

	pthread_once(&pool.once, watch_forks);
	error = resolve_check(request);
	if (error < 0)
		return error;

	error = lookup_new(request, done, ctx, &lookup);
	if (error < 0)
		return error;

	error = admit(loop, lookup);
	if (error < 0) {
		lookup_free(lookup);
		return error;
	}
	error = submit(lookup);
	if (error < 0) {
		mailbox_leave(lookup->mailbox);
		lookup_free(lookup);
		return error;
	}
	*ret = lookup;
	return 0;
}

/* Takes the lookup from where it waits; false when it does not wait, but runs or is delivered. */
static bool recall_locked(struct lookup *lookup)
{
	if (lookup->state == RUNNING || lookup->state == DELIVERING)
		return false;

	TAILQ_REMOVE(lookup->state == QUEUED ? &pool.queue : &lookup->mailbox->finished, lookup,
		     link);
	pool.pending--;
	return true;
}

void lookup_cancel(struct lookup *lookup)
{
	struct mailbox *mailbox;

	if (!lookup)
		return;

	lock();
	mailbox = lookup->mailbox;
	bool waited = recall_locked(lookup);
	bool runs = lookup->state == RUNNING;
	if (runs)
		lookup->mailbox = NULL; /* its thread frees it */
	unlock();

	if (waited)
		lookup_free(lookup);
	if (waited || runs)
		mailbox_leave(mailbox);
}
