/* What a worker is told of a share that it asked for.
 *
 * Errors: a channel that takes no answer is told with on_unreachable of the shares. */
#ifndef USHER_COMMON_CLUSTER_SHARE_ANSWER_H
#define USHER_COMMON_CLUSTER_SHARE_ANSWER_H

#include "common/cluster/share.h"

/* of_lookup: the error is one of getaddrinfo(3). */
void share_answer_refuse(struct holder *holder, uint32_t request, int error, bool of_lookup);

/* The hold is gone after that. */
void share_answer_refuse_hold(struct share_hold *hold, int error, bool of_lookup);

/* Everybody who has the share or waits for it. The error of one attempt is nobody else's: the share
 * is forgotten. */
void share_answer_refuse_all(struct share *share, int error, bool of_lookup);

/* Of a share that is open: its socket, or its connections from now on. The hold is gone if that
 * cannot be. */
void share_answer_grant(struct share_hold *hold);

#endif
