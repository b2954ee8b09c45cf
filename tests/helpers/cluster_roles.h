/* Roles of workers that several programs have, for cluster_play().
 *
 * Errors: a worker that cannot open its channel says why, and exits with EXIT_FAILURE. */
#ifndef USHER_TESTS_HELPERS_CLUSTER_ROLES_H
#define USHER_TESTS_HELPERS_CLUSTER_ROLES_H

#include <ev.h>

#include "common/cluster/cluster.h"

/* A worker that wants messages, and says when it is disconnected. */
struct cluster_worker *cluster_role_open(struct ev_loop *loop);

void cluster_role_idle(struct ev_loop *loop);

/* Disconnects itself, and exits with 5. */
void cluster_role_leave(struct ev_loop *loop);

void cluster_role_exit_with_3(struct ev_loop *loop);

/* Neither reads its channel nor minds SIGTERM. */
void cluster_role_hang(struct ev_loop *loop);

void cluster_role_never_open(struct ev_loop *loop);

#endif
