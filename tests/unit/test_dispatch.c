/* From sources to takers that come and go, over real sockets and channels. */
#include "common/cluster/dispatch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/dispatch_world.h"

static void only_who_has_joined_a_source_gets_its_connections(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_join(world, 0, 0);
	dispatch_world_join(world, 1, 1);
	for (int i = 0; i < 3; i++) {
		dispatch_world_connect(world, 0);
		dispatch_world_connect(world, 1);
	}
	dispatch_world_connect(world, 1);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 3 && world->workers[1].handed == 4);
}

static void a_source_that_nobody_has_joined_keeps_its_queue(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_join(world, 0, 0);
	dispatch_world_connect(world, 1);
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 1);
	dispatch_world_run_ready(world);
	assert_int_equal(world->workers[1].handed, 0);

	dispatch_world_join(world, 1, 1);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 1);
}

/* What waits for the takers of one source holds up no other one. */
static void what_is_parked_is_in_nobody_elses_way(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_hand_first(world);
	dispatch_remove_taker(&world->dispatcher, &world->workers[0].taker);

	dispatch_world_join(world, 1, 1);
	dispatch_world_connect(world, 1);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 1);
	dispatch_world_join(world, 1, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 2);
	assert_int_equal(world->dropped, 0);
}

/* To whom those that wait are on their way. */
struct waiting {
	const struct taker *takers[4];
	size_t count;
};

static bool note_waiting(const struct transit *transit, const struct taker *taker, void *ctx)
{
	struct waiting *waiting = ctx;

	waiting->takers[waiting->count++] = taker;
	return waiting->count < ARRAY_LEN(waiting->takers);
}

/* What no taker has is known: to whom it is on its way, and that it came back. */
static void what_waits_is_told_and_counted(void **state)
{
	struct dispatch_world *world = *state;
	struct waiting waiting = {0};
	uint32_t counts[3] = {0};

	dispatch_world_join(world, 0, 0);
	dispatch_world_connect(world, 0);
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 2);
	dispatch_each_waiting(&world->dispatcher, note_waiting, &waiting);
	assert_int_equal(waiting.count, 2);
	assert_ptr_equal(waiting.takers[1], &world->workers[0].taker);
	dispatch_count_parked(&world->dispatcher, counts, ARRAY_LEN(counts));
	assert_int_equal(counts[world->sources[0].id], 0);
	assert_int_equal(world->returned, 0);

	dispatch_bury(&world->dispatcher, &world->workers[0].taker);
	assert_int_equal(world->returned, 2);
	dispatch_count_parked(&world->dispatcher, counts, ARRAY_LEN(counts));
	assert_int_equal(counts[world->sources[0].id], 2);
	waiting = (struct waiting){0};
	dispatch_each_waiting(&world->dispatcher, note_waiting, &waiting);
	assert_int_equal(waiting.count, 2);
	assert_null(waiting.takers[1]);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN;
}

static void what_comes_back_of_a_removed_source_is_closed(void **state)
{
	struct dispatch_world *world = *state;
	int client;

	dispatch_world_join(world, 0, 0);
	dispatch_world_join(world, 1, 0);
	client = dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 1);
	dispatch_remove_source(&world->dispatcher, &world->sources[0]);
	assert_false(taker_has_joined(&world->workers[0].taker, world->sources[0].id));
	dispatch_world_run_ready(world);
	assert_false(is_closed(client));

	dispatch_bury(&world->dispatcher, &world->workers[0].taker);
	DISPATCH_RUN_UNTIL(world, is_closed(client));
	assert_int_equal(world->workers[1].handed, 0);
}

static void what_is_parked_of_a_removed_source_is_closed_and_told(void **state)
{
	struct dispatch_world *world = *state;
	int client;

	client = dispatch_world_hand_first(world);
	dispatch_bury(&world->dispatcher, &world->workers[0].taker);
	assert_false(is_closed(client));
	dispatch_remove_source(&world->dispatcher, &world->sources[0]);
	DISPATCH_RUN_UNTIL(world, is_closed(client));
	assert_int_equal(world->dropped, 1);
}

static void say_progress(struct dispatch_worker *w, uint32_t listener)
{
	const struct ipc_progress body = {.taken = w->last};
	const struct ipc_counted_row row = {.listener = listener, .connections = 1};

	assert_int_equal(channel_send(&w->theirs, IPC_PROGRESS, &body, &row, 1, NULL), 0);
}

/* The message may have been on its way when the source went. */
static void word_of_a_removed_source_is_no_fault(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	dispatch_remove_source(&world->dispatcher, &world->sources[0]);
	claims_take(&w->claims, w->last);
	say_progress(w, world->sources[0].id);
	DISPATCH_RUN_UNTIL(world, handoff_unanswered(&w->taker.handoff) == 0);
	assert_int_equal(taker_connections(&w->taker, world->sources[0].id), 0);
}

/* KF-2: without a word of the worker, and though nobody else comes. */
static void what_is_taken_is_let_go_soon(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	assert_true(claims_is_held(&w->claims, 1));
	claims_take(&w->claims, 1);
	DISPATCH_RUN_UNTIL(world, !claims_is_held(&w->claims, 1));
	dispatch_world_run_ready(world);
	assert_false(ev_is_active(&world->dispatcher.look));
}

/* Those that were taken are seen before the next one is given. */
static void a_look_comes_before_each_choice(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	claims_take(&w->claims, 1);
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, w->handed == 2);
	assert_false(claims_is_held(&w->claims, 1));
	assert_int_equal(handoff_unanswered(&w->taker.handoff), 1);
}

/* A client of source 0 waits in the kernel's queue, for its takers have no room. */
static void fill(struct dispatch_world *world)
{
	world->workers[0].taker.handoff.full = EMFILE;
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, claims_wants_bell(&world->workers[0].claims));
	dispatch_world_run_ready(world);
	assert_int_equal(world->workers[0].handed, 1);
	assert_false(ev_is_active(&world->sources[0].acceptor));
}

static void who_waits_for_room_is_rung_for(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_join(world, 0, 1);
	dispatch_world_hand_first(world);
	fill(world);
	handoff_retry(&w->taker.handoff);
	claims_take(&w->claims, 1);
	say_progress(w, world->sources[0].id);
	DISPATCH_RUN_UNTIL(world, w->handed == 2);
	assert_false(claims_wants_bell(&w->claims));
}

static void nobody_is_rung_for_before_a_client_comes(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	w->taker.handoff.full = EMFILE;
	dispatch_update(&world->dispatcher);
	assert_false(claims_wants_bell(&w->claims));
}

/* The worker did not see the bell yet, so it will not ring. */
static void what_was_taken_before_the_bell_was_wanted_is_seen(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[1];

	dispatch_world_hand_first(world);
	dispatch_world_join(world, 1, 1);
	dispatch_world_connect(world, 1);
	DISPATCH_RUN_UNTIL(world, w->handed == 1);
	claims_take(&w->claims, 1);
	dispatch_bury(&world->dispatcher, &world->workers[0].taker);
	assert_true(claims_wants_bell(&w->claims));
	assert_int_equal(handoff_unanswered(&w->taker.handoff), 0);
}

/* Nobody says so when a taker is able no more: the next client shows it. */
static void who_comes_when_no_taker_is_able_waits_and_keeps_nobody_busy(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	w->taker.ready = false;
	assert_true(ev_is_active(&world->sources[0].acceptor));
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, !ev_is_active(&world->sources[0].acceptor));
	assert_int_equal(w->handed, 1);

	w->taker.ready = true;
	dispatch_update(&world->dispatcher);
	DISPATCH_RUN_UNTIL(world, w->handed == 2);
}

static void who_is_parked_comes_before_who_comes_later(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[1];
	struct addr parked = {.len = sizeof(parked.un)};
	int client;

	w->taker.ready = false;
	dispatch_world_join(world, 1, 0);
	client = dispatch_world_hand_first(world);
	dispatch_bury(&world->dispatcher, &world->workers[0].taker);
	assert_true(ev_is_active(&world->sources[0].acceptor));

	w->taker.ready = true;
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, w->handed == 2);
	assert_int_equal(getsockname(client, &parked.sa, &parked.len), 0);
	assert_memory_equal(&w->first.in, &parked.in, sizeof(parked.in));
}

/* As libev does when the kernel refuses to watch one descriptor more. */
static void a_source_that_cannot_be_watched_is_watched_again_soon(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_join(world, 0, 0);
	ev_io_stop(world->loop, &world->sources[0].acceptor);
	ev_feed_event(world->loop, &world->sources[0].acceptor, EV_ERROR | EV_READ | EV_WRITE);
	dispatch_world_connect(world, 0);
	ev_run(world->loop, EVRUN_NOWAIT);
	assert_true(world->dispatcher.short_of);
	DISPATCH_RUN_UNTIL(world, world->workers[0].handed == 1);
}

static void what_is_refused_goes_to_another(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	dispatch_world_join(world, 1, 0);
	claims_set_reason(&w->claims, 1, EMFILE);
	claims_take(&w->claims, 1);
	say_progress(w, world->sources[0].id);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 1);
	assert_int_equal(w->handed, 1);
}

static void a_taker_that_lies_is_ended_and_the_others_serve(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_hand_first(world);
	claims_take(&w->claims, 77);
	dispatch_world_join(world, 1, 0);
	dispatch_world_connect(world, 0);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 1);
	assert_int_equal(world->broken, 1);
	dispatch_bury(&world->dispatcher, &w->taker);
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 2);
	assert_int_equal(world->broken, 1);
}

static void word_of_a_source_that_never_was_is_refused(void **state)
{
	const struct ipc_progress body = {0};
	const struct ipc_counted_row row = {.listener = 3, .connections = 1};
	const struct ipc_message message = {.body = &body, .tail = &row, .tail_count = 1};
	struct dispatch_world *world = *state;

	assert_int_equal(dispatch_progress(&world->dispatcher, &world->workers[0].taker, &message),
			 -EPROTO);
}

/* Each has waited for too long when somebody looks, which is awaited. */
static void lose_patience(struct dispatch_world *world)
{
	struct transit *transit;

	TAILQ_FOREACH (transit, &world->workers[0].taker.handoff.transits, link)
		transit->deadline_ms = 1;
	assert_true(ev_is_active(&world->dispatcher.look));
	ev_timer_stop(world->loop, &world->dispatcher.look);
	ev_invoke(world->loop, &world->dispatcher.look, EV_TIMER);
}

static void on_stopped(void *ctx)
{
	*(bool *)ctx = true;
}

/* For as long as that may take, which is for ever here. */
static void what_the_kernels_queues_have_at_the_stop_is_handed_off(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];
	bool stopped = false;

	dispatch_world_join(world, 0, 1);
	dispatch_world_hand_first(world);
	fill(world);
	assert_false(dispatch_stop(&world->dispatcher, on_stopped, &stopped));
	ev_timer_stop(world->loop, &world->dispatcher.end);
	dispatch_world_run_ready(world);
	assert_false(stopped);

	handoff_retry(&w->taker.handoff);
	claims_take(&w->claims, 1);
	say_progress(w, world->sources[0].id);
	DISPATCH_RUN_UNTIL(world, stopped && w->handed == 2);
	assert_int_equal(world->dropped, 0);
}

/* To take it back would be to close it, for nobody else is given it any more. */
static void at_the_stop_who_is_slow_keeps_what_is_on_its_way(void **state)
{
	struct dispatch_world *world = *state;
	struct dispatch_worker *w = &world->workers[0];

	dispatch_world_join(world, 0, 1);
	dispatch_world_hand_first(world);
	assert_true(dispatch_stop(&world->dispatcher, on_stopped, NULL));
	w->taker.ready = false;
	world->workers[1].taker.ready = false;
	lose_patience(world);
	assert_int_equal(world->returned, 0);
	assert_int_equal(world->dropped, 0);
	assert_int_equal(claims_take(&w->claims, 1), 0);

	/* It does not outlive it. */
	dispatch_bury(&world->dispatcher, &w->taker);
}

static void at_the_stop_others_get_what_waits_for_too_long(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_hand_first(world);
	dispatch_world_join(world, 1, 0);
	world->dispatcher.emptying = true;
	lose_patience(world);
	world->dispatcher.emptying = false;
	DISPATCH_RUN_UNTIL(world, world->workers[1].handed == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISPATCH_TEST(only_who_has_joined_a_source_gets_its_connections),
		DISPATCH_TEST(a_source_that_nobody_has_joined_keeps_its_queue),
		DISPATCH_TEST(what_is_parked_is_in_nobody_elses_way),
		DISPATCH_TEST(what_waits_is_told_and_counted),
		DISPATCH_TEST(what_comes_back_of_a_removed_source_is_closed),
		DISPATCH_TEST(what_is_parked_of_a_removed_source_is_closed_and_told),
		DISPATCH_TEST(word_of_a_removed_source_is_no_fault),
		DISPATCH_TEST(word_of_a_source_that_never_was_is_refused),
		DISPATCH_TEST(what_is_taken_is_let_go_soon),
		DISPATCH_TEST(a_look_comes_before_each_choice),
		DISPATCH_TEST(who_waits_for_room_is_rung_for),
		DISPATCH_TEST(nobody_is_rung_for_before_a_client_comes),
		DISPATCH_TEST(what_was_taken_before_the_bell_was_wanted_is_seen),
		DISPATCH_TEST(who_comes_when_no_taker_is_able_waits_and_keeps_nobody_busy),
		DISPATCH_TEST(who_is_parked_comes_before_who_comes_later),
		DISPATCH_TEST(a_source_that_cannot_be_watched_is_watched_again_soon),
		DISPATCH_TEST(what_is_refused_goes_to_another),
		DISPATCH_TEST(a_taker_that_lies_is_ended_and_the_others_serve),
		DISPATCH_TEST(what_the_kernels_queues_have_at_the_stop_is_handed_off),
		DISPATCH_TEST(at_the_stop_who_is_slow_keeps_what_is_on_its_way),
		DISPATCH_TEST(at_the_stop_others_get_what_waits_for_too_long),
	};

	alarm(120);
	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
