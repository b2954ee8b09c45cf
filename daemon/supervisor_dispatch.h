/* What the supervisor does when dispatch tells it of a worker that takes connections, or does not.
 *
 * Errors: logged; a worker that breaks the rules is killed, and its end comes like any other. */
#ifndef USHER_DAEMON_SUPERVISOR_DISPATCH_H
#define USHER_DAEMON_SUPERVISOR_DISPATCH_H

#include "common/cluster/dispatch.h"

/* Each taker is that of a child; ctx is the supervisor. */
extern const struct dispatch_ops supervisor_dispatch;

#endif
