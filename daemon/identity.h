/* As whom the workers run.
 *
 * The worker's user is the one that the configuration names. Without one, a usherd that can become
 * other users picks "usher", or else "nobody": what talks to clients is not what listens for them.
 *
 * Errors: identity_choose() returns 0 or -errno, and logs why.
 * Source: capabilities(7), capget(2). */
#ifndef USHER_DAEMON_IDENTITY_H
#define USHER_DAEMON_IDENTITY_H

#include "daemon/child.h"
#include "daemon/config.h"

/* Sets the user of program; its name is the configuration's or static. -ENOENT: there is no user to
 * pick. */
int identity_choose(const struct config *config, struct program *program);

#endif
