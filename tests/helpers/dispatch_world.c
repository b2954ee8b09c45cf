#include "tests/helpers/dispatch_world.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_S 60

static void on_handed(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct dispatch_worker *w = ctx;

	if (message->type != IPC_HANDOFF)
		return;
	if (w->handed == 0) {
		w->first.len = sizeof(w->first.un);
		assert_int_equal(getpeername(message->fds[0], &w->first.sa, &w->first.len), 0);
	}
	w->handed += message->n_fds;
	w->last = ((const struct ipc_handoff *)message->body)->first + (uint32_t)message->n_fds - 1;
}

static void on_answer(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct dispatch_worker *w = ctx;

	assert_int_equal(message->type, IPC_PROGRESS);
	assert_int_equal(dispatch_progress(&w->world->dispatcher, &w->taker, message), 0);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
}

static const struct channel_ops our_ops = {.on_message = on_answer, .on_lost = on_lost};
static const struct channel_ops their_ops = {.on_message = on_handed, .on_lost = on_lost};

static void on_complaint(const struct taker *taker, const char *what, int error, void *ctx)
{
}

static void on_taker(const struct taker *taker, void *ctx)
{
}

static void on_broke(struct taker *taker, void *ctx)
{
	((struct dispatch_world *)ctx)->broken++;
	channel_close(taker->channel);
}

static void on_dropped(size_t count, void *ctx)
{
	((struct dispatch_world *)ctx)->dropped += count;
}

static void on_returned(const struct taker *taker, const struct transit *transit, void *ctx)
{
	((struct dispatch_world *)ctx)->returned++;
}

static const struct dispatch_ops ops = {
	.returned = on_returned,
	.complaint = on_complaint,
	.late = on_taker,
	.again = on_taker,
	.broke = on_broke,
	.dropped = on_dropped,
};

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int events)
{
	CONTAINER_OF(timer, struct dispatch_world, watchdog)->late = true;
}

static void open_worker(struct dispatch_world *world, unsigned int i)
{
	struct dispatch_worker *w = &world->workers[i];
	AUTO_CLOSE int page = -1;
	int pair[2];

	w->world = world;
	assert_int_equal(channel_pair(pair), 0);
	assert_int_equal(channel_open(&w->ours, world->loop, pair[0], IPC_SUPERVISOR, &our_ops, w),
			 0);
	assert_int_equal(channel_open(&w->theirs, world->loop, pair[1], IPC_WORKER, &their_ops, w),
			 0);
	taker_init(&w->taker, i + 1, &w->ours);
	assert_int_equal(handoff_open(&w->taker.handoff, &page), 0);
	assert_int_equal(claims_open(&w->claims, page), 0);
	w->taker.ready = true;
	dispatch_add_taker(&world->dispatcher, &w->taker);
}

static void open_source(struct dispatch_world *world, unsigned int i)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;

	assert_int_equal(bind_open(&options, &world->bound[i], &which), 0);
	world->sources[i] = (struct source){
		.id = i + 1,
		.fd = world->bound[i].fd,
		.policy = POLICY_ROUND_ROBIN,
	};
	dispatch_add_source(&world->dispatcher, &world->sources[i]);
}

int dispatch_world_setup(void **state)
{
	struct dispatch_world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->fds = open_fd_count();
	world->loop = ev_loop_new(EVFLAG_AUTO);
	ev_timer_init(&world->watchdog, on_watchdog, WATCHDOG_S, 0);
	ev_timer_start(world->loop, &world->watchdog);
	dispatch_init(&world->dispatcher, world->loop, &ops, world);
	for (unsigned int i = 0; i < 2; i++) {
		open_source(world, i);
		open_worker(world, i);
	}
	*state = world;
	return 0;
}

int dispatch_world_teardown(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_done(&world->dispatcher);
	for (size_t i = 0; i < world->n_clients; i++)
		close(world->clients[i]);
	for (size_t i = 0; i < 2; i++) {
		channel_close(&world->workers[i].ours);
		channel_close(&world->workers[i].theirs);
		taker_done(&world->workers[i].taker);
		claims_close(&world->workers[i].claims);
		bound_close(&world->bound[i]);
	}
	ev_loop_destroy(world->loop);
	assert_int_equal(open_fd_count(), world->fds);
	free(world);
	return 0;
}

void dispatch_world_join(struct dispatch_world *world, size_t worker, size_t source)
{
	assert_int_equal(taker_join(&world->workers[worker].taker, world->sources[source].id), 0);
	dispatch_update(&world->dispatcher);
}

int dispatch_world_connect(struct dispatch_world *world, size_t source)
{
	const struct addr *a = &world->bound[source].addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &a->sa, a->len), 0);
	/* The client's end may be connected before the listener has it. */
	assert_true(wait_readable(world->bound[source].fd, WAIT_MS));
	world->clients[world->n_clients++] = fd;
	return fd;
}

void dispatch_world_run_ready(struct dispatch_world *world)
{
	for (int i = 0; i < 20; i++)
		ev_run(world->loop, EVRUN_NOWAIT);
}

int dispatch_world_hand_first(struct dispatch_world *world)
{
	int client;

	dispatch_world_join(world, 0, 0);
	client = dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 1);
	return client;
}
