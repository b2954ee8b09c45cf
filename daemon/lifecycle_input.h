/* What comes from a worker: its messages, checked, become the events of its lifecycle.
 *
 * Errors: what no worker of ours would say is logged, and is EVENT_BROKE. */
#ifndef USHER_DAEMON_LIFECYCLE_INPUT_H
#define USHER_DAEMON_LIFECYCLE_INPUT_H

#include "daemon/child.h"

/* The ops of every child; their ctx is the supervisor. */
extern const struct child_ops lifecycle_input;

#endif
