#include "tests/load/pace.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/load/clock.h"

/* More of them wait for the next turn of the loop, so that answers are read in between. */
#define CALLS_OF_A_TURN 256

uint64_t pace_due_ns(const struct pace *p, uint64_t number)
{
	return p->start_ns + (uint64_t)((double)number * p->interval_ns);
}

uint64_t pace_missed(const struct pace *p)
{
	uint64_t due;

	if (!p->loop)
		return 0;
	due = (uint64_t)((double)(clock_ns() - p->start_ns) / p->interval_ns) + 1;
	return due > p->next ? due - p->next : 0;
}

/* Setting the timer also takes back its readiness: no read is needed. */
static int arm(const struct pace *p, int fd)
{
	uint64_t ns = pace_due_ns(p, p->next);
	const struct itimerspec when = {.it_value = {.tv_sec = (time_t)(ns / NS_OF_A_SECOND),
						     .tv_nsec = (long)(ns % NS_OF_A_SECOND)}};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) == -1 ? -errno : 0;
}

static void on_time(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct pace *p = CONTAINER_OF(watcher, struct pace, watcher);
	uint64_t now = clock_ns();

	for (int i = 0; i < CALLS_OF_A_TURN && p->loop; i++) {
		uint64_t due_ns = pace_due_ns(p, p->next);

		if (due_ns > now)
			break;
		p->due(p->next++, due_ns, p->ctx);
	}
	/* It was set before with no other values than these. */
	if (p->loop)
		arm(p, watcher->fd);
}

int pace_start(struct pace *p, struct ev_loop *loop, double rate, pace_fn *due, void *ctx)
{
	AUTO_CLOSE int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	int r;

	if (fd == -1)
		return -errno;
	memset(p, 0, sizeof(*p));
	p->start_ns = clock_ns();
	p->interval_ns = (double)NS_OF_A_SECOND / rate;
	p->due = due;
	p->ctx = ctx;
	r = arm(p, fd);
	if (r < 0)
		return r;

	p->loop = loop;
	ev_io_init(&p->watcher, on_time, take_fd(&fd), EV_READ);
	ev_io_start(loop, &p->watcher);
	return 0;
}

void pace_stop(struct pace *p)
{
	if (!p->loop)
		return;
	ev_io_stop(p->loop, &p->watcher);
	close(p->watcher.fd);
	p->loop = NULL;
}
