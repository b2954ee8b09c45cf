/* The addresses of a host name as the system's resolver gives them, found without blocking a loop.
 *
 * getaddrinfo(3) alone honours nsswitch.conf, /etc/hosts and the modules an administrator has
 * added, and it blocks; so it runs in threads, at most LOOKUP_THREADS in the process, for all its
 * loops. A thread is started when a name waits and ends when none is left: that costs some 30 us
 * in front of a question to the network, and who looks nothing up has no thread of ours.
 * getaddrinfo_a(3) would not do: it is glibc's only, a running request can't be abandoned, as its
 * memory must stay until it is done, and it reports by a signal or by yet another thread. A host
 * written as an address is never given to a thread.
 *
 * Threads: a loop is used in one thread; loops of several threads may look up at once.
 * Owns:    the module owns a lookup; it is gone when its callback has returned or lookup_cancel()
 *          was called. Cancel what is pending before the loop is destroyed.
 * Errors:  functions return 0 or -errno; a status is as in resolve.h.
 * Order:   the callback runs once, from the loop: never inside lookup_start(), never after
 *          lookup_cancel(). A pending lookup keeps the loop alive. No deadline is added to the
 *          resolver's own, see resolv.conf(5): timeout, attempts. Until then a name whose servers
 *          are silent keeps its thread busy, and LOOKUP_THREADS such names keep others waiting.
 * Fork:    a child without exec(3) may look up on a loop of its own, and leaves its parent's
 *          lookups alone.
 * Source:  getaddrinfo(3), pthreads(7), eventfd(2). */
#ifndef USHER_COMMON_NET_LOOKUP_H
#define USHER_COMMON_NET_LOOKUP_H

#include <ev.h>

#include "common/net/resolve.h"

#define LOOKUP_THREADS 4

/* Lookups that may be unfinished in the process, those cancelled while they ran included. */
#define LOOKUP_PENDING_MAX 4096

struct lookup;

/* addresses are in the resolver's order and borrowed for the call. There is at least one when
 * status is 0, and none otherwise. */
typedef void lookup_fn(int status, const struct addr *addresses, size_t count, void *ctx);

/* request is copied. Returns -EINVAL as resolve_check() does, -ENOBUFS when LOOKUP_PENDING_MAX are
 * pending, -EAGAIN when there is no thread and none can be started, -EMFILE, -ENFILE, -ENOMEM. */
int lookup_start(struct ev_loop *loop, const struct resolve_request *request, lookup_fn *done,
		 void *ctx, struct lookup **ret);

/* Takes NULL. May be called until the callback has returned; from inside it, it does nothing. */
void lookup_cancel(struct lookup *lookup);

#endif
