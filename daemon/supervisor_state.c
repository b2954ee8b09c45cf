#include "daemon/supervisor_state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
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

/* What the manager has no room for is told when the timer comes, as it is then: nobody need hear of
 * that. */
static int tell(struct supervisor *s, const char *message)
{
	int error = notify_send("%s", message);

	if (error == -EAGAIN)
		ev_timer_again(s->loop, &s->retry);
	else
		check_told(error);
	return error;
}

static bool announce(struct supervisor *s, unsigned int ready)
{
	if (tell(s, "READY=1") == -EAGAIN)
		return false;
	log_info("ready: %u workers serve %zu listeners", ready, s->n_listeners);
	return true;
}

static void write_status(const struct supervisor *s, unsigned int ready, unsigned int resting,
			 char text[SUPERVISOR_STATUS_SIZE])
{
	if (s->state == SUPERVISOR_STOPPING)
		snprintf(text, SUPERVISOR_STATUS_SIZE,
			 "STOPPING=1\nSTATUS=Stopping, workers are finishing their connections");
	else if (resting > 0)
		snprintf(text, SUPERVISOR_STATUS_SIZE,
			 "STATUS=%u of %u workers are ready, %u are resting", ready, s->workers,
			 resting);
	else
		snprintf(text, SUPERVISOR_STATUS_SIZE, "STATUS=%u of %u workers are ready", ready,
			 s->workers);
}

/* Says nothing twice. */
static void tell_status(struct supervisor *s, unsigned int ready, unsigned int resting)
{
	char text[SUPERVISOR_STATUS_SIZE] = "";

	write_status(s, ready, resting, text);
	if (strcmp(text, s->status_told) != 0 && tell(s, text) == 0)
		memcpy(s->status_told, text, sizeof(text));
}

void supervisor_tell_state(struct supervisor *s)
{
	unsigned int ready = supervisor_count_in(s, CHILD_READY);
	unsigned int resting = supervisor_count_in(s, CHILD_RESTING);
	/* Who rests already has become ready. */
	bool complete = ready + (s->state == SUPERVISOR_STARTING ? resting : 0) >= s->workers;

	ev_timer_stop(s->loop, &s->retry);
	if (s->state == SUPERVISOR_STARTING && complete && !announce(s, ready))
		return;
	if (complete && s->state != SUPERVISOR_STOPPING)
		s->state = SUPERVISOR_RUNNING;
	else if (s->state == SUPERVISOR_RUNNING)
		s->state = SUPERVISOR_DEGRADED;
	tell_status(s, ready, resting);
}

void supervisor_state_stopping(struct supervisor *s)
{
	s->state = SUPERVISOR_STOPPING;
	supervisor_tell_state(s);
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
	double interval = notify_watchdog_interval();
	int error = notify_send("WATCHDOG=1");
	bool again = error == -EAGAIN && interval > NOTIFY_RETRY_S;

	/* One that is lost leaves none of the manager's patience. */
	watcher->repeat = again ? NOTIFY_RETRY_S : interval;
	ev_timer_again(loop, watcher);
	if (error != -EAGAIN)
		check_told(error);
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
