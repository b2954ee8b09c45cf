#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "daemon/nudge.h"
#include "tests/helpers/wait.h"

/* One shared listener and one worker, whose end of the channel is here. */
struct fixture {
	struct ev_loop *loop;
	struct child_list children;
	struct child *child;
	int theirs;
	struct config_listener config;
	struct handle handle;
	struct listener listener;
	struct shares shares;
	struct nudge nudge;
	int client;
};

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
}

static const struct channel_ops channel_ops = {.on_lost = on_lost};
static const struct child_ops child_ops;

static int setup(void **state)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *which;
	int pair[2];

	f->loop = ev_loop_new(EVFLAG_AUTO);
	f->client = -1;
	TAILQ_INIT(&f->children);
	LIST_INIT(&f->shares.list);
	assert_int_equal(child_new(f->loop, 1, &child_ops, NULL, &f->child), 0);
	assert_int_equal(channel_pair(pair), 0);
	assert_int_equal(channel_open(&f->child->process.channel, f->loop, pair[0], IPC_SUPERVISOR,
				      &channel_ops, NULL),
			 0);
	f->theirs = pair[1];
	child_set_state(f->child, CHILD_READY);
	TAILQ_INSERT_TAIL(&f->children, f->child, link);

	assert_int_equal(bind_open(&options, &f->handle.bound, &which), 0);
	f->listener = (struct listener){
		.source.id = 7, .config = &f->config, .handles = &f->handle, .n_handles = 1};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	nudge_stop(&f->nudge);
	close_fd(f->client);
	close_fd(f->theirs);
	bound_close(&f->handle.bound);
	child_free(f->child);
	ev_loop_destroy(f->loop);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	assert_int_equal(nudge_start(&f->nudge, f->loop, &f->children, &f->listener, 1, &f->shares),
			 0);
}

static void connect_client(struct fixture *f)
{
	const struct addr *addr = &f->handle.bound.addr;

	f->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->client, &addr->sa, addr->len), 0);
	/* The client's end may be connected before the listener has it. */
	assert_true(wait_readable(f->handle.bound.fd, WAIT_MS));
}

/* As many looks as the loop would take in so many intervals. */
static void run_looks(struct fixture *f, int count)
{
	assert_true(ev_is_active(&f->nudge.timer));
	while (count-- > 0)
		ev_invoke(f->loop, &f->nudge.timer, EV_TIMER);
}

/* Whether the worker was told, and of which listener. */
static bool was_told(struct fixture *f)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_message message;
	const char *why;
	size_t n_fds;
	ssize_t size = fdpass_recv(f->theirs, packet, sizeof(packet), NULL, 0, &n_fds);

	if (size == -EAGAIN)
		return false;
	assert_true(size > 0);
	assert_int_equal(ipc_decode(IPC_SUPERVISOR, packet, (size_t)size, 0, &message, &why), 0);
	assert_int_equal(message.type, IPC_NUDGE);
	assert_int_equal(((const struct ipc_nudge *)message.body)->listener, 7);
	return true;
}

static void who_waits_for_two_looks_has_the_workers_look(void **state)
{
	struct fixture *f = *state;

	start(f);
	connect_client(f);
	run_looks(f, 1);
	assert_false(was_told(f));
	run_looks(f, 1);
	assert_true(was_told(f));
}

static void the_loop_looks_again_and_again(void **state)
{
	struct fixture *f = *state;

	start(f);
	connect_client(f);
	while (!was_told(f))
		ev_run(f->loop, EVRUN_ONCE);
	while (!was_told(f))
		ev_run(f->loop, EVRUN_ONCE);
}

static void an_empty_queue_wakes_nobody(void **state)
{
	struct fixture *f = *state;

	start(f);
	run_looks(f, 3);
	assert_false(was_told(f));
}

static void only_workers_that_are_ready_are_told(void **state)
{
	struct fixture *f = *state;

	f->child->state = CHILD_DRAINING;
	start(f);
	connect_client(f);
	run_looks(f, 3);
	assert_false(was_told(f));
}

static void only_shared_listeners_are_looked_at(void **state)
{
	struct fixture *f = *state;

	f->config.exclusive = true;
	start(f);
	connect_client(f);
	assert_false(ev_is_active(&f->nudge.timer));
	nudge_stop(&f->nudge);

	f->config.exclusive = false;
	f->config.distribute = DISTRIBUTE_ROUND_ROBIN;
	start(f);
	assert_false(ev_is_active(&f->nudge.timer));
}

/* Only while there are any: else the supervisor would wake for nothing. */
static void what_programs_listen_on_is_looked_at(void **state)
{
	struct fixture *f = *state;
	struct share share = {.id = 7, .source.policy = POLICY_NONE, .bound = f->handle.bound};

	f->config.exclusive = true;
	nudge_share(&f->nudge);
	start(f);
	assert_false(ev_is_active(&f->nudge.timer));
	LIST_INSERT_HEAD(&f->shares.list, &share, link);
	nudge_share(&f->nudge);
	run_looks(f, 3);
	assert_false(was_told(f));
	connect_client(f);
	run_looks(f, 2);
	assert_true(was_told(f));
	LIST_REMOVE(&share, link);
	run_looks(f, 1);
	assert_false(ev_is_active(&f->nudge.timer));
}

/* Not for each that says so: where all are short, each has all the others look. */
static void when_a_worker_is_short_the_others_look_at_once(void **state)
{
	struct fixture *f = *state;

	start(f);
	connect_client(f);
	ev_timer_stop(f->loop, &f->nudge.timer);
	for (int i = 0; i < 3; i++)
		nudge_short(&f->nudge);
	assert_true(was_told(f));
	assert_false(was_told(f));
	while (ev_is_active(&f->nudge.short_pause))
		ev_run(f->loop, EVRUN_ONCE);
	assert_true(was_told(f));
	assert_false(was_told(f));
}

/* Nobody waits for the next look. */
static void when_a_worker_leaves_the_others_look_at_once(void **state)
{
	struct fixture *f = *state;

	nudge_others(&f->nudge);
	start(f);
	nudge_others(&f->nudge);
	assert_false(was_told(f));
	connect_client(f);
	nudge_others(&f->nudge);
	assert_true(was_told(f));
	assert_false(was_told(f));

	nudge_stop(&f->nudge);
	nudge_others(&f->nudge);
	assert_false(was_told(f));
}

static void when_a_program_leaves_the_others_look_at_once(void **state)
{
	struct fixture *f = *state;
	struct share share = {.id = 7, .source.policy = POLICY_NONE, .bound = f->handle.bound};

	f->config.exclusive = true;
	connect_client(f);
	nudge_others_of(&f->nudge, &share);
	start(f);
	LIST_INSERT_HEAD(&f->shares.list, &share, link);
	nudge_others_of(&f->nudge, &share);
	assert_true(was_told(f));
	nudge_others(&f->nudge);
	assert_true(was_told(f));

	/* What we accept ourselves is not theirs to look at. */
	share.source.policy = POLICY_ROUND_ROBIN;
	nudge_others_of(&f->nudge, &share);
	assert_false(was_told(f));
	nudge_stop(&f->nudge);
	share.source.policy = POLICY_NONE;
	nudge_others_of(&f->nudge, &share);
	assert_false(was_told(f));
}

static void stopping_twice_is_fine(void **state)
{
	struct fixture *f = *state;

	nudge_stop(&f->nudge);
	start(f);
	nudge_stop(&f->nudge);
	nudge_stop(&f->nudge);
	assert_false(ev_run(f->loop, EVRUN_NOWAIT) && ev_is_active(&f->nudge.timer));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(who_waits_for_two_looks_has_the_workers_look),
		TEST(the_loop_looks_again_and_again),
		TEST(an_empty_queue_wakes_nobody),
		TEST(only_workers_that_are_ready_are_told),
		TEST(only_shared_listeners_are_looked_at),
		TEST(what_programs_listen_on_is_looked_at),
		TEST(when_a_worker_is_short_the_others_look_at_once),
		TEST(when_a_worker_leaves_the_others_look_at_once),
		TEST(when_a_program_leaves_the_others_look_at_once),
		TEST(stopping_twice_is_fine),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
