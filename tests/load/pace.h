/* Calls that are due at a fixed rate, whether or not the work of the last ones is done.
 *
 * libev's timers have the grain of epoll_wait(2), a millisecond; this one is a timerfd.
 *
 * Owns:   its descriptor, from pace_start() to pace_stop(). A zeroed struct that was not started
 *         may be stopped.
 * Errors: pace_start() returns 0 or -errno.
 * Order:  due is called in order, for calls that are late too, so that none is left out.
 * Source: timerfd_create(2). */
#ifndef USHER_TESTS_LOAD_PACE_H
#define USHER_TESTS_LOAD_PACE_H

#include <ev.h>
#include <stdint.h>

/* The call with this number, from 0 on, was due at due_ns of clock_ns(). */
typedef void pace_fn(uint64_t number, uint64_t due_ns, void *ctx);

struct pace {
	ev_io watcher;
	struct ev_loop *loop; /* NULL: stopped */
	uint64_t start_ns;
	double interval_ns;
	uint64_t next;
	pace_fn *due;
	void *ctx;
};

int pace_start(struct pace *p, struct ev_loop *loop, double rate, pace_fn *due, void *ctx);
void pace_stop(struct pace *p);

uint64_t pace_due_ns(const struct pace *p, uint64_t number);
/* Those whose time has come and that have not been called yet; 0 when it is stopped. */
uint64_t pace_missed(const struct pace *p);

#endif
