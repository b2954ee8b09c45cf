/* Telling the service manager how we are: the sending half of sd_notify(3).
 *
 * The manager's address and watchdog are the process's, so is the state here.
 *
 * Owns:   NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which notify_init() takes out of the
 *         environment so that no child talks in our name.
 * Errors: functions return 0 or -errno.
 * Source: sd_notify(3), sd_watchdog_enabled(3), unix(7). */
#ifndef USHER_DAEMON_NOTIFY_H
#define USHER_DAEMON_NOTIFY_H

#include <stdbool.h>

#include "common/macros.h"

#define NOTIFY_MESSAGE_SIZE 2048

/* Reads and removes the environment. -EINVAL: a variable makes no sense; -EAFNOSUPPORT: an address
 * that is neither a path nor abstract. What failed is then as if it had not been set. */
int notify_init(void);

/* Whether there is a service manager to tell. */
bool notify_wanted(void);

/* Sends one message of NAME=VALUE lines, and never waits. 0 also when no manager listens. -EAGAIN:
 * its queue is full, try again later; -EMSGSIZE: longer than NOTIFY_MESSAGE_SIZE, not sent. A
 * text from outside that goes into format must hold no line feed, as that would begin another
 * NAME=VALUE. */
int notify_send(const char *format, ...) PRINTF_LIKE(1, 2);

/* How often, in seconds, to send WATCHDOG=1: half of what the manager waits. 0: not wanted. */
double notify_watchdog_interval(void);

#endif
