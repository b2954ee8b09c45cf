/* Idle time. The periods are long enough for a loaded machine to keep them apart. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

#define PERIOD_MS 100

static int arm(struct actor *actor, long long ms)
{
	return net_socket_set_timeout(actor->socket, ms, actor_done, actor);
}

/* TO-1, TO-2: the completion, then the event, and nothing else happens. */
static void idle_time_is_told_once_and_does_nothing(void **state)
{
	struct stage *stage = *state;
	int64_t begin = now_ms();

	stage_connected(stage);
	assert_int_equal(arm(&stage->client, PERIOD_MS), 0);
	assert_int_equal(net_socket_timeout(stage->client.socket), PERIOD_MS);
	story_run_until(&stage->story, "C.timeout");
	assert_true(now_ms() - begin >= PERIOD_MS);
	story_run_ms(&stage->story, 3 * PERIOD_MS);
	assert_string_equal(stage->story.text, "C.done:0 C.timeout ");
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_OPEN);
}

/* TO-2: only activity arms it again, and then for a whole period. CB-4: its completion not. */
static void activity_arms_it_again(void **state)
{
	struct stage *stage = *state;
	int64_t written;

	stage_connected(stage);
	arm(&stage->client, PERIOD_MS);
	story_run_until(&stage->story, "C.timeout");
	story_run_ms(&stage->story, PERIOD_MS);
	written = now_ms();
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_forget(&stage->story);
	story_run_until(&stage->story, "C.timeout");
	assert_true(now_ms() - written >= PERIOD_MS);
	assert_false(story_has(&stage->story, "C.done:0"));
}

/* TO-1: 0 disarms and drops the completion. */
static void zero_disarms(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	arm(&stage->client, PERIOD_MS);
	assert_int_equal(arm(&stage->client, 0), 0);
	assert_int_equal(net_socket_timeout(stage->client.socket), 0);
	story_run_ms(&stage->story, 2 * PERIOD_MS);
	assert_string_equal(stage->story.text, "");
}

/* TO-1 */
static void a_new_timeout_replaces_the_old_one(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	arm(&stage->client, PERIOD_MS);
	arm(&stage->client, 60000);
	story_run_ms(&stage->story, 2 * PERIOD_MS);
	assert_string_equal(stage->story.text, "");
}

/* TO-1 */
static void the_range_is_checked_and_clamped(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(arm(&stage->client, -1), NET_ERR_OUT_OF_RANGE);
	assert_int_equal(arm(&stage->client, 1LL << 40), 0);
	assert_int_equal(net_socket_timeout(stage->client.socket), INT_MAX);
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(arm(&stage->client, 10), 0);
	assert_int_equal(net_socket_timeout(stage->client.socket), 0);
}

/* TO-1 */
static void an_unconnected_socket_has_idle_time_too(void **state)
{
	struct stage *stage = *state;

	stage->client.story = &stage->story;
	assert_int_equal(net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client,
					&stage->client.socket),
			 0);
	arm(&stage->client, 10);
	story_run_until(&stage->story, "C.timeout");
	assert_string_equal(stage->story.text, "C.done:0 C.timeout ");
}

/* The last activity that is known of was not before this. */
static int64_t active_ms;
static int64_t sent_ms;

static void send_more(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stage *stage = timer->data;

	sent_ms = now_ms();
	net_socket_write(stage->guest.socket, "x", 1, NULL, NULL);
	if (++stage->guest.status == 6)
		ev_timer_stop(loop, timer);
}

static void note_arrival(struct actor *actor)
{
	active_ms = sent_ms;
}

static void expect_a_whole_period(struct actor *actor)
{
	assert_true(now_ms() - active_ms >= net_socket_timeout(actor->socket));
}

/* TO-3: what arrives is activity. On a machine that lets the timers run late it may expire before
 * all has been sent, but never within a period of what has come. */
static void data_that_arrives_keeps_it_from_expiring(void **state)
{
	struct stage *stage = *state;
	ev_timer timer;

	stage_connected(stage);
	stage->client.on[ON_DATA] = note_arrival;
	stage->client.on[ON_TIMEOUT] = expect_a_whole_period;
	active_ms = now_ms();
	arm(&stage->client, 3 * PERIOD_MS);
	ev_timer_init(&timer, send_more, PERIOD_MS / 1e3, PERIOD_MS / 1e3);
	timer.data = stage;
	ev_timer_start(stage->story.loop, &timer);
	while (stage->client.received < 6)
		ev_run(stage->story.loop, EVRUN_ONCE);
	story_forget(&stage->story);
	story_run_until(&stage->story, "C.timeout");
}

static void say_late(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stage *stage = timer->data;

	story_tell(&stage->story, "late");
}

/* TO-3: setters, pause and resume, and writes behind a stalled one are none. */
static void what_is_no_activity_does_not_count(void **state)
{
	static char data[8 << 20];
	struct stage *stage = *state;
	ev_timer late;

	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	net_socket_write(stage->client.socket, data, sizeof(data), NULL, NULL);
	story_run_ms(&stage->story, PERIOD_MS);
	arm(&stage->client, PERIOD_MS);
	/* However slow the machine, the loop keeps the two in order: had anything below counted,
	 * the other one would come first. */
	ev_timer_init(&late, say_late, PERIOD_MS * 1.4 / 1000, 0);
	late.data = stage;
	ev_timer_start(stage->story.loop, &late);
	story_run_ms(&stage->story, PERIOD_MS / 2);
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	net_socket_pause(stage->client.socket);
	net_socket_resume(stage->client.socket);
	net_socket_set_no_delay(stage->client.socket, true);
	story_run_until(&stage->story, "late");
	assert_true(story_in_order(&stage->story, "C.timeout", "late"));
}

static int64_t looked_ms;
static size_t queued;

/* What the kernel took of the queue it took since the last look. */
static void read_some(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stage *stage = timer->data;

	if (net_socket_buffer_size(stage->client.socket) < queued)
		active_ms = looked_ms;
	queued = net_socket_buffer_size(stage->client.socket);
	looked_ms = now_ms();
	net_socket_resume(stage->guest.socket);
}

static void pause_it(struct actor *actor)
{
	net_socket_pause(actor->socket);
}

/* TO-4: a slow peer that still takes bytes is not idle, one that has stalled is. Here too it may
 * expire on a machine that stops for a period. */
static void a_write_that_advances_is_activity_and_a_stalled_one_is_not(void **state)
{
	static char data[32 << 20];
	struct stage *stage = *state;
	int little = 65536;
	ev_timer timer;

	stage_connected(stage);
	/* The kernel takes more when a third of its buffer is free: of a large one, too seldom. */
	setsockopt(stage->client.socket->io.fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	stage->guest.on[ON_DATA] = pause_it;
	ev_timer_init(&timer, read_some, 0.01, 0.01);
	timer.data = stage;
	ev_timer_start(stage->story.loop, &timer);
	net_socket_write(stage->client.socket, data, sizeof(data), NULL, NULL);
	stage->client.on[ON_TIMEOUT] = expect_a_whole_period;
	queued = net_socket_buffer_size(stage->client.socket);
	looked_ms = active_ms = now_ms();
	arm(&stage->client, 3 * PERIOD_MS);
	story_run_ms(&stage->story, 6 * PERIOD_MS);
	assert_true(net_socket_buffer_size(stage->client.socket) > 0);
	ev_timer_stop(stage->story.loop, &timer);
	story_run_until(&stage->story, "C.timeout");
}

/* TO-5 */
static void a_timeout_does_not_keep_the_loop(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	arm(&stage->client, 60000);
	net_socket_pause(stage->client.socket);
	net_socket_unref(stage->guest.socket);
	net_server_unref(stage->host.server);
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));
}

static void arm_again(struct actor *actor)
{
	if (++actor->status < 3)
		arm(actor, 10);
}

static void it_may_be_armed_again_and_destroyed_in_its_own_event(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->client.on[ON_TIMEOUT] = arm_again;
	arm(&stage->client, 10);
	stage->client.status = 0;
	while (story_count(&stage->story, "C.timeout") < 2)
		ev_run(stage->story.loop, EVRUN_ONCE);
	net_socket_destroy(stage->client.socket, 0);
}

static void destroy_both(struct actor *actor)
{
	struct stage *stage = actor->other;

	net_socket_destroy(stage->client.socket, 0);
	net_socket_destroy(stage->guest.socket, 0);
}

/* Both ends have run out before the loop has its turn. */
static void both_are_late(struct stage *stage, void (*then)(struct actor *actor))
{
	stage_connected(stage);
	stage->client.other = stage->guest.other = stage;
	stage->client.on[ON_TIMEOUT] = stage->guest.on[ON_TIMEOUT] = then;
	arm(&stage->client, 1);
	arm(&stage->guest, 1);
	stay_busy(10);
	story_run_ready(&stage->story);
}

/* CB-3: what has run out, and is destroyed before it is told, is not told any more. */
static void a_late_timeout_ends_with_its_socket(void **state)
{
	struct stage *stage = *state;

	both_are_late(stage, destroy_both);
	assert_int_equal(story_count(&stage->story, "C.timeout") +
				 story_count(&stage->story, "S.timeout"),
			 1);
	story_run_ms(&stage->story, 10);
	assert_null(stage->client.socket);
	assert_null(stage->guest.socket);
}

static void write_on_both(struct actor *actor)
{
	struct stage *stage = actor->other;

	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	net_socket_write(stage->guest.socket, "x", 1, NULL, NULL);
}

/* TO-3: activity before it is told puts it off; the references of the loop stay in balance. */
static void activity_puts_a_late_timeout_off(void **state)
{
	struct stage *stage = *state;

	both_are_late(stage, write_on_both);
	stage->client.on[ON_TIMEOUT] = stage->guest.on[ON_TIMEOUT] = NULL;
	story_run_until(&stage->story, "C.timeout");
	story_run_until(&stage->story, "S.timeout");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(idle_time_is_told_once_and_does_nothing),
		on_stage(activity_arms_it_again),
		on_stage(zero_disarms),
		on_stage(a_new_timeout_replaces_the_old_one),
		on_stage(the_range_is_checked_and_clamped),
		on_stage(an_unconnected_socket_has_idle_time_too),
		on_stage(data_that_arrives_keeps_it_from_expiring),
		on_stage(what_is_no_activity_does_not_count),
		on_stage(a_write_that_advances_is_activity_and_a_stalled_one_is_not),
		on_stage(a_timeout_does_not_keep_the_loop),
		on_stage(it_may_be_armed_again_and_destroyed_in_its_own_event),
		on_stage(a_late_timeout_ends_with_its_socket),
		on_stage(activity_puts_a_late_timeout_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
