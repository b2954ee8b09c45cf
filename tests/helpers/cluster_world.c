#include "tests/helpers/cluster_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_S 30

void cluster_play(int argc, char **argv, const struct cluster_role *roles, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (argc < 2 || strcmp(argv[1], roles[i].name) != 0)
			continue;
		roles[i].play(ev_default_loop(0));
		exit(EXIT_SUCCESS);
	}
	fprintf(stderr, "there is no role %s\n", argc < 2 ? "" : argv[1]);
	exit(EXIT_FAILURE);
}

void cluster_greet(struct net_server *server, struct net_socket *socket, void *ctx)
{
	static const struct net_socket_ops ops;
	char text[32];

	snprintf(text, sizeof(text), "worker %u\n", cluster_worker_id(ctx));
	net_socket_set_ops(socket, &ops, NULL);
	net_socket_write(socket, text, strlen(text), NULL, NULL);
	net_socket_pipe(socket, socket);
}

/* --- the story ------------------------------------------------------------------------------- */

static void add(struct cluster_world *w, struct cluster_worker *worker, const char *name,
		const char *more)
{
	size_t used = strlen(w->story);
	char event[256];

	assert_false(w->in_call);
	snprintf(event, sizeof(event), "%s %u%s", name, cluster_worker_id(worker), more);
	assert_true(used + strlen(event) + 3 < sizeof(w->story));
	sprintf(w->story + used, "%s%s", used > 0 ? ", " : "", event);
	if (w->react)
		w->react(w, event, worker);
}

static void on_fork(struct cluster *cluster, struct cluster_worker *worker, void *ctx)
{
	add(ctx, worker, "fork", "");
}

static void on_online(struct cluster *cluster, struct cluster_worker *worker, void *ctx)
{
	add(ctx, worker, "online", "");
}

static void on_listening(struct cluster *cluster, struct cluster_worker *worker,
			 const struct cluster_listening *listening, void *ctx)
{
	struct cluster_world *w = ctx;

	w->listening = *listening;
	snprintf(w->address, sizeof(w->address), "%s",
		 listening->address ? listening->address : "(none)");
	w->listening.address = w->address;
	add(w, worker, "listening", "");
}

/* "message 1 hello": as much of it as is a short text. */
static void on_message(struct cluster *cluster, struct cluster_worker *worker,
		       const struct cluster_message *message, void *ctx)
{
	struct cluster_world *w = ctx;
	char more[64];
	size_t size = message->size < 32 ? message->size : 0;

	snprintf(more, sizeof(more), " %.*s", (int)size, (const char *)message->data);
	w->message_bytes += message->size;
	add(w, worker, "message", more);
}

static void on_disconnect(struct cluster *cluster, struct cluster_worker *worker, void *ctx)
{
	assert_false(cluster_worker_is_connected(worker));
	add(ctx, worker, "disconnect", "");
}

static void on_exit_status(struct cluster *cluster, struct cluster_worker *worker, int code,
			   int signal, void *ctx)
{
	struct cluster_world *w = ctx;
	char more[64];

	assert_true(cluster_worker_is_dead(worker));
	w->last_code = code;
	w->last_signal = signal;
	snprintf(more, sizeof(more), " %d %d%s", code, signal,
		 cluster_worker_exited_after_disconnect(worker) ? " voluntary" : "");
	add(w, worker, "exit", more);
}

static void on_error(struct cluster *cluster, struct cluster_worker *worker,
		     const struct net_error *error, void *ctx)
{
	struct cluster_world *w = ctx;

	snprintf(w->error, sizeof(w->error), "%s", error->text);
	add(w, worker, "error", "");
}

const struct cluster_ops cluster_world_ops = {
	.on_fork = on_fork,
	.on_online = on_online,
	.on_listening = on_listening,
	.on_message = on_message,
	.on_disconnect = on_disconnect,
	.on_exit = on_exit_status,
	.on_error = on_error,
};

/* Whole events only: "exit 1" is not one of "exit 11". */
size_t cluster_world_count(const struct cluster_world *w, const char *event)
{
	size_t count = 0, length = strlen(event);

	for (const char *at = w->story; (at = strstr(at, event)); at += length) {
		bool begins = at == w->story || at[-1] == ' ';
		bool ends = at[length] == '\0' || at[length] == ',' || at[length] == ' ';

		count += begins && ends;
	}
	return count;
}

bool cluster_world_told(const struct cluster_world *w, const char *event)
{
	return cluster_world_count(w, event) > 0;
}

void cluster_run_until(struct cluster_world *w, const char *event)
{
	/* What is deferred already does not end a wait. */
	ev_run(w->loop, EVRUN_NOWAIT);
	while (!cluster_world_told(w, event) && !w->late)
		ev_run(w->loop, EVRUN_ONCE);
	if (w->late)
		fail_msg("\"%s\" never came; story: %s; last error: %s", event, w->story, w->error);
}

struct refusal {
	struct ev_loop *loop;
	int port;
};

static bool has_no_listener(void *ctx)
{
	const struct refusal *refusal = ctx;

	ev_run(refusal->loop, EVRUN_NOWAIT);
	return kernel_tcp_listeners(refusal->port) == 0;
}

/* It does not connect to see: see kernel_await_no_listener(). */
void cluster_run_until_refused(struct cluster_world *w, int port)
{
	struct refusal refusal = {w->loop, port};

	assert_true(poll_until(has_no_listener, &refusal, WAIT_MS));
	expect_tcp_refused("127.0.0.1", port);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
	ev_break(loop, EVBREAK_ONE);
}

void cluster_run_until_readable(struct cluster_world *w, int fd)
{
	ev_io io;

	ev_io_init(&io, on_readable, fd, EV_READ);
	ev_io_start(w->loop, &io);
	CLUSTER_RUN_UNTIL(w, wait_readable(fd, 0));
	ev_io_stop(w->loop, &io);
}

static bool has_no_children(void *ctx)
{
	const struct cluster_world *w = ctx;

	ev_run(w->loop, EVRUN_NOWAIT);
	return kernel_children(0, NULL, 0) == 0;
}

void cluster_run_until_childless(struct cluster_world *w)
{
	assert_true(poll_until(has_no_children, w, WAIT_MS));
}

/* --- from start to end ----------------------------------------------------------------------- */

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct cluster_world *w = timer->data;

	w->late = true;
}

int cluster_world_setup(void **state)
{
	struct cluster_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->loop = ev_default_loop(0);
	w->fds = open_fd_count();
	ev_timer_init(&w->watchdog, on_watchdog, WATCHDOG_S, 0);
	w->watchdog.data = w;
	ev_now_update(w->loop);
	ev_timer_start(w->loop, &w->watchdog);
	ev_unref(w->loop);
	*state = w;
	return 0;
}

int cluster_world_teardown(void **state)
{
	struct cluster_world *w = *state;

	cluster_free(w->cluster);
	ev_ref(w->loop);
	ev_timer_stop(w->loop, &w->watchdog);
	ev_run(w->loop, EVRUN_NOWAIT);
	assert_int_equal(open_fd_count(), w->fds);
	free(w);
	return 0;
}

void cluster_world_start(struct cluster_world *w, const char *role,
			 const struct cluster_settings *more)
{
	const char *const args[] = {role, NULL};
	struct cluster_settings settings = {0};

	if (more)
		settings = *more;
	if (!settings.args)
		settings.args = args;
	assert_int_equal(
		cluster_setup_master(w->loop, &settings, &cluster_world_ops, w, &w->cluster), 0);
	assert_ptr_equal(cluster_ctx(w->cluster), w);
}

struct cluster_worker *cluster_world_fork(struct cluster_world *w)
{
	struct cluster_worker *worker = NULL;

	w->in_call = true;
	assert_int_equal(cluster_fork(w->cluster, NULL, &worker), 0);
	w->in_call = false;
	return worker;
}

struct cluster_worker *cluster_world_serve(struct cluster_world *w, const char *role,
					   const struct cluster_settings *more)
{
	struct cluster_worker *worker;

	cluster_world_start(w, role, more);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "listening 1");
	return worker;
}
