#include "daemon/supervisor_state.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/notify.h"
#include "daemon/supervisor.h"

/* After the service manager's queue was found full. */
#define NOTIFY_RETRY_S 0.5

/* A service manager that does not listen is no reason to stop. */
static void check_told(int error)
{
	if (error < 0)
		log_warning("the service manager cannot be told: %s", strerror(-error));
}

/* Returns whether the service manager knows; it is told again when it could take no more. */
static bool announce(struct supervisor *s, unsigned int ready)
{
	int error = notify_send("READY=1");

	if (error == -EAGAIN) {
		ev_timer_again(s->loop, &s->retry);
		return false;
	}
	check_told(error);
	ev_timer_stop(s->loop, &s->retry);
	log_info("ready: %u workers serve %zu listeners", ready, s->n_listeners);
	return true;
}

void supervisor_tell_state(struct supervisor *s)
{
	unsigned int ready = supervisor_count_in(s, CHILD_READY);
	unsigned int resting = supervisor_count_in(s, CHILD_RESTING);
	/* Who rests already has become ready. */
	bool complete = ready + (s->state == SUPERVISOR_STARTING ? resting : 0) >= s->workers;

	if (s->state == SUPERVISOR_STOPPING) {
		check_told(notify_send("STATUS=Stopping, workers are finishing their connections"));
		return;
	}
	if (s->state == SUPERVISOR_STARTING && complete && !announce(s, ready))
		return;
	if (complete)
		s->state = SUPERVISOR_RUNNING;
	else if (s->state == SUPERVISOR_RUNNING)
		s->state = SUPERVISOR_DEGRADED;
	if (resting > 0)
		check_told(notify_send("STATUS=%u of %u workers are ready, %u are resting", ready,
				       s->workers, resting));
	else
		check_told(notify_send("STATUS=%u of %u workers are ready", ready, s->workers));
}

void supervisor_state_stopping(struct supervisor *s)
{
	s->state = SUPERVISOR_STOPPING;
	check_told(notify_send("STOPPING=1"));
}

const char *supervisor_state_name(enum supervisor_state state)
{
	static const char *const names[] = {
		[SUPERVISOR_STARTING] = "starting",
		[SUPERVISOR_RUNNING] = "running",
		[SUPERVISOR_DEGRADED] = "degraded",
		[SUPERVISOR_STOPPING] = "stopping",
	};

	return names[state];
}

static void on_retry(struct ev_loop *loop, ev_timer *watcher, int events)
{
	supervisor_tell_state(CONTAINER_OF(watcher, struct supervisor, retry));
}

static void on_watchdog(struct ev_loop *loop, ev_timer *watcher, int events)
{
	check_told(notify_send("WATCHDOG=1"));
}

void supervisor_state_init(struct supervisor *s)
{
	double interval = notify_watchdog_interval();

	ev_timer_init(&s->retry, on_retry, 0, NOTIFY_RETRY_S);
	ev_timer_init(&s->watchdog, on_watchdog, interval, interval);
}

void supervisor_state_start(struct supervisor *s)
{
	if (notify_watchdog_interval() > 0)
		ev_timer_start(s->loop, &s->watchdog);
}

void supervisor_state_done(struct supervisor *s)
{
	ev_timer_stop(s->loop, &s->watchdog);
	ev_timer_stop(s->loop, &s->retry);
}
