/* The state of the supervisor as the service manager is told it.
 *
 * Owns:   the supervisor's timers watchdog and retry, and status_told.
 * Errors: a service manager that cannot be told is logged, and no reason to stop. One whose queue
 *         is full is told a moment later.
 * Source: sd_notify(3). */
#ifndef USHER_DAEMON_SUPERVISOR_STATE_H
#define USHER_DAEMON_SUPERVISOR_STATE_H

#define SUPERVISOR_STATUS_SIZE 128

struct supervisor;

enum supervisor_state {
	SUPERVISOR_STARTING, /* not every worker has been ready yet */
	SUPERVISOR_RUNNING,
	SUPERVISOR_DEGRADED, /* has been running; a slot is without a ready worker */
	SUPERVISOR_STOPPING,
};

void supervisor_state_init(struct supervisor *supervisor);
void supervisor_state_done(struct supervisor *supervisor);

/* From now on the watchdog is fed. */
void supervisor_state_start(struct supervisor *supervisor);

/* It stops from now on. */
void supervisor_state_stopping(struct supervisor *supervisor);

/* Reckons the state from those of the workers, and tells it if that is news: what systemctl status
 * shows, and READY once every worker has become ready. */
void supervisor_tell_state(struct supervisor *supervisor);

const char *supervisor_state_name(enum supervisor_state state);

#endif
