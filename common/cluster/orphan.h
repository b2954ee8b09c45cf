/* A process that must not outlive the one that started it: whoever hangs when that has died is
 * ended by SIGALRM a little later, so that who does not can end by itself.
 *
 * Owns:   the signal ORPHAN_SIGNAL, and once the parent has died SIGALRM.
 * Errors: 0 or -errno.
 * Source: PR_SET_PDEATHSIG(2const), which is about the thread that forked; signal-safety(7). */
#ifndef USHER_COMMON_CLUSTER_ORPHAN_H
#define USHER_COMMON_CLUSTER_ORPHAN_H

#include <signal.h>

#define ORPHAN_SIGNAL (SIGRTMAX - 1)

/* How long an orphan has to end. */
#define ORPHAN_TIMEOUT_S 3

/* From now on; in place of what the parent has set. -ESRCH: it has died already. */
int orphan_watch(void);

/* It may outlive its parent, even if that has died already. */
void orphan_forgive(void);

#endif
