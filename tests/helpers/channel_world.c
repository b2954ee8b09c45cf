#include "tests/helpers/channel_world.h"

#include <string.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/fds.h"

#define DEADLINE_S 60

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct end *end = ctx;

	if (end->count < WORLD_REMEMBERED)
		memcpy(&end->numbers[end->count], message->body, sizeof(end->numbers[0]));
	end->count++;
	end->last_size = message->tail_count;
	if (end->react)
		end->react(end, message);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct end *end = ctx;

	end->lost_count++;
	end->lost_error = error;
	strncpy(end->lost_why, why, sizeof(end->lost_why) - 1);
}

const struct channel_ops world_ops = {.on_message = on_message, .on_lost = on_lost};

static void on_watchdog(struct ev_loop *loop, ev_timer *watcher, int events)
{
	CONTAINER_OF(watcher, struct world, watchdog)->late = true;
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int fds[2];

	assert_non_null(w);
	w->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(w->loop);
	ev_timer_init(&w->watchdog, on_watchdog, DEADLINE_S, 0);
	ev_timer_start(w->loop, &w->watchdog);
	w->supervisor.taken = w->worker.taken = -1;
	w->supervisor.channel.fd = w->worker.channel.fd = -1;
	w->open_before = open_fd_count();

	assert_int_equal(channel_pair(fds), 0);
	w->theirs = fds[1];
	*state = w;
	return channel_open(&w->supervisor.channel, w->loop, fds[0], IPC_SUPERVISOR, &world_ops,
			    &w->supervisor);
}

int world_teardown(void **state)
{
	struct world *w = *state;

	channel_close(&w->supervisor.channel);
	channel_close(&w->worker.channel);
	close_fd(w->supervisor.taken);
	close_fd(w->worker.taken);
	close_fd(w->theirs);
	size_t open_after = open_fd_count();
	bool leaked = open_after != w->open_before;

	ev_loop_destroy(w->loop);
	free(w);
	if (leaked)
		print_error("descriptors are left open\n");
	return leaked ? -1 : 0;
}

void world_open_worker(struct world *w)
{
	assert_int_equal(channel_open(&w->worker.channel, w->loop, take_fd(&w->theirs), IPC_WORKER,
				      &world_ops, &w->worker),
			 0);
}

void world_run_ready(struct world *w)
{
	for (int i = 0; i < 20; i++)
		ev_run(w->loop, EVRUN_NOWAIT);
}

void world_assert_lost_once(struct world *w, const struct end *end, int error)
{
	WORLD_RUN_UNTIL(w, end->lost_count > 0);
	world_run_ready(w);
	assert_int_equal(end->lost_count, 1);
	assert_int_equal(end->lost_error, error);
	assert_true(strlen(end->lost_why) > 10);
}

void world_assert_numbers(const struct end *end, size_t count)
{
	assert_int_equal(end->count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(end->numbers[i], i);
}

int world_send_count(struct world *w, size_t number)
{
	struct ipc_count body = {.request = (uint32_t)number};

	return channel_send(&w->supervisor.channel, IPC_COUNT, &body, NULL, 0, NULL);
}

int world_send_serve(struct world *w, size_t number, int fd)
{
	struct ipc_serve body = {.listener = (uint32_t)number};

	return channel_send(&w->supervisor.channel, IPC_SERVE, &body, NULL, 0, &fd);
}

size_t world_fill(struct world *w)
{
	size_t number = 0;

	while (w->supervisor.channel.queued_messages == 0)
		assert_int_equal(world_send_count(w, number++), 0);
	return number;
}

ssize_t world_send_raw(struct world *w, const void *data, size_t size, size_t n_fds)
{
	struct iovec part = {(void *)data, size};
	int fds[FDPASS_MAX];

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = STDIN_FILENO;
	return fdpass_send(w->theirs, &part, 1, fds, n_fds);
}

bool world_send_hello(struct world *w, size_t number, size_t n_fds)
{
	const uint32_t packet[] = {IPC_HELLO, (uint32_t)number};

	return world_send_raw(w, packet, sizeof(packet), n_fds) == sizeof(packet);
}
