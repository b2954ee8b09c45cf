/* A master on the default loop, and workers that are the test program itself in another role.
 *
 * What each worker tells goes into a story, "fork 1, online 1, exit 1 0 0", in the order in which
 * it came; each event also fails the test if it came inside a call.
 *
 * The program's main() calls cluster_role() first: in a worker it does what the first argument
 * says, and does not return. */
#ifndef USHER_TESTS_HELPERS_CLUSTER_WORLD_H
#define USHER_TESTS_HELPERS_CLUSTER_WORLD_H

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/cluster/cluster.h"

#define CLUSTER_WORLD_STORY 65536

struct cluster_role {
	const char *name;
	void (*play)(struct ev_loop *loop);
};

/* In a worker: plays its role, and exits with 0 when that returns. */
void cluster_play(int argc, char **argv, const struct cluster_role *roles, size_t count);

/* In a worker: on_connection of a server whose ctx is the worker. Says "worker ID\n"; echoes. */
void cluster_greet(struct net_server *server, struct net_socket *socket, void *ctx);

struct cluster_world {
	struct ev_loop *loop;
	ev_timer watchdog;
	bool late;
	bool in_call; /* of a function of the cluster's */
	struct cluster *cluster;
	char story[CLUSTER_WORLD_STORY];
	int last_code;
	int last_signal;
	char error[512];
	size_t message_bytes;               /* of all that came */
	struct cluster_listening listening; /* the last, its text in address */
	char address[128];
	/* called after the story was told, if set */
	void (*react)(struct cluster_world *w, const char *event, struct cluster_worker *worker);
	size_t fds;
};

extern const struct cluster_ops cluster_world_ops;

int cluster_world_setup(void **state);
int cluster_world_teardown(void **state);

/* A master whose workers play a role; more, if not NULL, has the other settings. */
void cluster_world_start(struct cluster_world *w, const char *role,
			 const struct cluster_settings *more);
struct cluster_worker *cluster_world_fork(struct cluster_world *w);

/* Both, and runs until worker 1 listens. */
struct cluster_worker *cluster_world_serve(struct cluster_world *w, const char *role,
					   const struct cluster_settings *more);

/* Whether the story has an event: "exit 1 0 0". */
bool cluster_world_told(const struct cluster_world *w, const char *event);

/* How often. */
size_t cluster_world_count(const struct cluster_world *w, const char *event);

#define CLUSTER_RUN_UNTIL(w, condition)                                                \
	do {                                                                           \
		while (!(condition) && !(w)->late)                                     \
			ev_run((w)->loop, EVRUN_ONCE);                                 \
		if ((w)->late)                                                         \
			fail_msg("never came: %s; story: %s", #condition, (w)->story); \
	} while (0)

/* Runs until the story has the event. */
void cluster_run_until(struct cluster_world *w, const char *event);

/* Runs until nobody listens on 127.0.0.1:port. */
void cluster_run_until_refused(struct cluster_world *w, int port);

/* Runs until something can be read there. */
void cluster_run_until_readable(struct cluster_world *w, int fd);

/* Runs until no process that we started is left. */
void cluster_run_until_childless(struct cluster_world *w);

#endif
