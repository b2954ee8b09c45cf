/* Takes a descriptor out of the set that a loop sleeps in.
 *
 * libev stops to watch a descriptor by forgetting it, and trusts that closing it removes it from
 * the kernel's set. It does not while another process has a copy: the entry stays, and each event
 * on it makes libev build its set anew.
 *
 * Errors: none; what is not in the set needs nothing.
 * Source: epoll(7), "Will closing a file descriptor cause it to be removed"; ev.pod on ev_embed,
 *         the one watcher that shows which descriptor a loop sleeps on. */
#ifndef USHER_COMMON_NET_UNWATCH_H
#define USHER_COMMON_NET_UNWATCH_H

struct net_context;

/* For an fd that is still open and whose watchers are stopped. */
void unwatch(struct net_context *context, int fd);

#endif
