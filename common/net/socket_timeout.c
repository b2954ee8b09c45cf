/* Idle time. Activity only notes the time; the timer, when it runs out, looks whether the time was
 * idle and else goes on for the rest: see "Be smart about timeouts" in ev(3). */
#include <limits.h>
#include <time.h>

#include "common/macros.h"
#include "common/net/socket.h"

/* Not ev_now(): that is wall-clock time, and a step of the clock would expire every connection. */
static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Whether it runs, or has run out in this turn of the loop and waits to be told. */
static bool is_set(const ev_timer *timer)
{
	return ev_is_active(timer) || ev_is_pending(timer);
}

/* A timer never keeps the loop running. */
static void start(struct net_socket *s, double seconds)
{
	ev_timer *timer = &s->extra->timeout.timer;

	ev_timer_set(timer, seconds, 0.);
	ev_timer_start(s->context->loop, timer);
	ev_unref(s->context->loop);
}

static void expire(struct net_socket *s)
{
	struct socket_timeout *timeout = &s->extra->timeout;
	net_socket_fn *fn = timeout->fn;

	timeout->fn = NULL;
	if (fn)
		fn(s, 0, timeout->ctx);
	if (!s->destroyed && s->ops->on_timeout)
		s->ops->on_timeout(s, s->ctx);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct socket_extra *extra = CONTAINER_OF(timer, struct socket_extra, timeout.timer);
	struct net_socket *s = timer->data;
	double rest = extra->timeout.active + extra->timeout.ms / 1e3 - now();

	/* libev has stopped the timer, and counted it off. */
	ev_ref(loop);
	if (rest > 0)
		start(s, rest);
	else
		expire(s);
}

void timeout_touch_armed(struct net_socket *s)
{
	struct socket_timeout *timeout = &s->extra->timeout;

	timeout->active = now();
	if (!is_set(&timeout->timer) && !s->destroyed)
		start(s, timeout->ms / 1e3);
}

void timeout_stop(struct net_socket *s)
{
	if (!s->extra)
		return;

	s->extra->timeout.ms = 0;
	s->extra->timeout.fn = NULL;
	if (!is_set(&s->extra->timeout.timer))
		return;
	ev_ref(s->context->loop);
	ev_timer_stop(s->context->loop, &s->extra->timeout.timer);
}

int net_socket_set_timeout(struct net_socket *s, long long ms, net_socket_fn *expired, void *ctx)
{
	struct socket_extra *extra;
	int r;

	if (ms < 0)
		return NET_ERR_OUT_OF_RANGE;
	timeout_stop(s);
	if (ms == 0 || s->destroyed)
		return 0;

	r = socket_get_extra(s, &extra);
	if (r < 0)
		return r;

	ev_timer_init(&extra->timeout.timer, on_timer, 0., 0.);
	extra->timeout.timer.data = s;
	extra->timeout.ms = ms > INT_MAX ? INT_MAX : (unsigned)ms;
	extra->timeout.fn = expired;
	extra->timeout.ctx = ctx;
	ev_now_update(s->context->loop);
	timeout_touch_armed(s);
	return 0;
}

unsigned net_socket_timeout(const struct net_socket *s)
{
	return s->extra ? s->extra->timeout.ms : 0;
}
