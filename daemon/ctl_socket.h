/* Which control socket usherctl is to ask.
 *
 * Owns:   *ret is the caller's to free().
 * Errors: an exit code of sysexits.h, having said why on standard error; 0 when *ret is set.
 * Source: usherctl(1), sysexits(3). */
#ifndef USHER_DAEMON_CTL_SOCKET_H
#define USHER_DAEMON_CTL_SOCKET_H

#include "daemon/ctl_options.h"

/* By -s, by -c, by the system's configuration if it can be read, else the usual place. */
int ctl_socket_find(const struct ctl_options *options, char **ret);

#endif
