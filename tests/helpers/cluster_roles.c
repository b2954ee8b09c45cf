#include "tests/helpers/cluster_roles.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void ignore_message(struct cluster_worker *self, const struct cluster_message *message,
			   void *ctx)
{
}

static void say_disconnect(struct cluster_worker *self, void *ctx)
{
	printf("disconnected%s\n",
	       cluster_worker_exited_after_disconnect(self) ? " voluntarily" : "");
	fflush(stdout);
}

static const struct cluster_worker_ops worker_ops = {
	.on_message = ignore_message,
	.on_disconnect = say_disconnect,
};

struct cluster_worker *cluster_role_open(struct ev_loop *loop)
{
	struct cluster_worker *self = NULL;
	int error = cluster_worker_open(loop, &worker_ops, NULL, &self);

	if (error < 0) {
		fprintf(stderr, "open: %s\n", net_error_message(error));
		exit(EXIT_FAILURE);
	}
	return self;
}

void cluster_role_idle(struct ev_loop *loop)
{
	cluster_role_open(loop);
	ev_run(loop, 0);
}

void cluster_role_leave(struct ev_loop *loop)
{
	struct cluster_worker *self = cluster_role_open(loop);

	int first = cluster_worker_disconnect(self), second = cluster_worker_disconnect(self);

	if (first != 0 || second != NET_ERR_IPC_DISCONNECTED ||
	    !cluster_worker_exited_after_disconnect(self))
		exit(3);
	ev_run(loop, 0);
	exit(5);
}

void cluster_role_exit_with_3(struct ev_loop *loop)
{
	cluster_role_open(loop);
	exit(3);
}

void cluster_role_hang(struct ev_loop *loop)
{
	signal(SIGTERM, SIG_IGN);
	cluster_role_open(loop);
	for (;;)
		pause();
}

void cluster_role_never_open(struct ev_loop *loop)
{
	for (;;)
		pause();
}
