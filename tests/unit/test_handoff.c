/* What is on its way to a worker: kept until answered, given back otherwise, closed exactly once.
 */
#include "common/cluster/handoff.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/cluster/source.h"
#include "common/macros.h"
#include "tests/helpers/channel_world.h"
#include "tests/helpers/fds.h"

#define NOW INT64_C(5000000000) /* does not fit 32 bits */

struct fixture {
	struct world *world;
	struct handoff handoff;
	struct transit_list back;
	struct source sources[2];
	size_t fds; /* open before the test */
};

/* Of the message that came last. */
static struct ipc_handoff body;
static struct ipc_peer peers[IPC_FDS_MAX];
static size_t n_peers;

static void keep(struct end *end, struct ipc_message *message)
{
	memcpy(&body, message->body, sizeof(body));
	memcpy(peers, message->tail, message->tail_count * sizeof(peers[0]));
	n_peers = message->tail_count;
	assert_int_equal(message->n_fds, n_peers);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *world = NULL;

	assert_non_null(f);
	assert_int_equal(world_setup(&world), 0);
	f->world = world;
	world_open_worker(f->world);
	f->world->worker.react = keep;
	handoff_init(&f->handoff);
	TAILQ_INIT(&f->back);
	f->sources[1].id = 1;
	f->fds = open_fd_count();
	*state = f;
	return 0;
}

static size_t drop_back(struct fixture *f)
{
	struct transit *t;
	size_t count = 0;

	while ((t = TAILQ_FIRST(&f->back))) {
		TAILQ_REMOVE(&f->back, t, link);
		transit_free(t);
		count++;
	}
	return count;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *world = f->world;

	handoff_done(&f->handoff);
	drop_back(f);
	int result = world_teardown(&world);
	free(f);
	return result;
}

static void add(struct fixture *f, size_t count, size_t source)
{
	while (count-- > 0) {
		struct transit *t = calloc(1, sizeof(*t));

		assert_non_null(t);
		t->fd = eventfd(0, EFD_CLOEXEC);
		assert_true(t->fd >= 0);
		t->source = &f->sources[source];
		addr_any(AF_INET6, (uint16_t)(1000 + count), &t->peer);
		handoff_add(&f->handoff, t);
	}
}

static int send_all(struct fixture *f, int64_t now_ms)
{
	return handoff_send(&f->handoff, &f->world->supervisor.channel, now_ms, &f->back);
}

static void hand_off(struct fixture *f, size_t count)
{
	add(f, count, 0);
	assert_int_equal(send_all(f, NOW), 0);
}

static size_t ours(const struct fixture *f)
{
	return open_fd_count() - f->fds;
}

/* AC-8 */
static void many_travel_in_one_message_with_their_addresses(void **state)
{
	struct fixture *f = *state;
	struct addr peer;

	hand_off(f, 3);
	WORLD_RUN_UNTIL(f->world, f->world->worker.count == 1);
	assert_int_equal(body.listener, 0);
	assert_int_equal(body.first, 1);
	assert_int_equal((int64_t)body.valid_until[1] << 32 | body.valid_until[0],
			 NOW + IPC_VALID_MS);
	assert_int_equal(n_peers, 3);
	for (size_t i = 0; i < 3; i++) {
		peer.len = peers[i].size;
		memcpy(&peer.sa, peers[i].address, peers[i].size);
		assert_int_equal(addr_port(&peer), 1002 - i);
	}
}

static void a_message_is_of_one_source_and_as_many_as_the_kernel_carries(void **state)
{
	struct fixture *f = *state;

	add(f, 1, 0);
	add(f, IPC_FDS_MAX + 1, 1);
	add(f, 1, 0);
	assert_int_equal(send_all(f, NOW), 0);
	WORLD_RUN_UNTIL(f->world, f->world->worker.count == 4);
	world_run_ready(f->world);
	assert_int_equal(f->world->worker.count, 4);
	assert_int_equal(body.first, IPC_IN_FLIGHT_MAX);
	assert_int_equal(n_peers, 1);
	assert_false(handoff_has_room(&f->handoff));
}

/* KF-2 */
static void our_copies_are_closed_when_they_are_answered_and_not_before(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 5);
	WORLD_RUN_UNTIL(f->world, f->world->worker.count == 1);
	assert_int_equal(ours(f), 5);
	assert_int_equal(handoff_taken(&f->handoff, 2), 0);
	assert_int_equal(ours(f), 3);
	assert_int_equal(handoff_taken(&f->handoff, 2), 0);
	assert_int_equal(handoff_taken(&f->handoff, 5), 0);
	assert_int_equal(ours(f), 0);
	assert_int_equal(handoff_deadline_ms(&f->handoff), 0);
}

static void an_answer_to_nothing_is_refused(void **state)
{
	struct fixture *f = *state;
	struct transit *t;

	hand_off(f, 4);
	add(f, 1, 0);
	assert_int_equal(handoff_taken(&f->handoff, 3), 0);
	assert_int_equal(handoff_taken(&f->handoff, 2), -EPROTO);
	assert_int_equal(handoff_taken(&f->handoff, 5), -EPROTO);
	assert_int_equal(handoff_taken(&f->handoff, UINT32_MAX), -EPROTO);
	assert_int_equal(handoff_refused(&f->handoff, 3, EMFILE, &t), -EPROTO);
	assert_int_equal(handoff_refused(&f->handoff, 5, EMFILE, &t), -EPROTO);
	assert_int_equal(handoff_refused(&f->handoff, 0, EMFILE, &t), -EPROTO);
	assert_int_equal(ours(f), 2);
}

static void what_is_refused_comes_back_once_and_the_worker_is_full(void **state)
{
	struct fixture *f = *state;
	struct transit *t;

	hand_off(f, 3);
	assert_int_equal(handoff_refused(&f->handoff, 2, EMFILE, &t), 0);
	assert_non_null(t);
	transit_free(t);
	assert_int_equal(handoff_refused(&f->handoff, 2, EMFILE, &t), 0);
	assert_null(t);
	assert_false(handoff_has_room(&f->handoff));
	handoff_retry(&f->handoff);
	assert_true(handoff_has_room(&f->handoff));
	assert_int_equal(handoff_taken(&f->handoff, 3), 0);
	assert_int_equal(ours(f), 0);
}

static void what_was_found_too_late_does_not_make_a_worker_full(void **state)
{
	struct fixture *f = *state;
	struct transit *t;

	hand_off(f, 1);
	assert_int_equal(handoff_refused(&f->handoff, 1, ETIMEDOUT, &t), 0);
	transit_free(t);
	assert_true(handoff_has_room(&f->handoff));
}

static void what_waits_for_too_long_comes_back_and_the_worker_is_late(void **state)
{
	struct fixture *f = *state;
	const int64_t due = NOW + IPC_VALID_MS + IPC_GRACE_MS;

	hand_off(f, 2);
	add(f, 1, 0);
	assert_int_equal(send_all(f, NOW + 10), 0);
	assert_int_equal(handoff_deadline_ms(&f->handoff), due);
	handoff_expire(&f->handoff, due - 1, &f->back);
	assert_true(TAILQ_EMPTY(&f->back));
	assert_true(handoff_has_room(&f->handoff));

	handoff_expire(&f->handoff, due, &f->back);
	assert_int_equal(drop_back(f), 2);
	assert_true(f->handoff.late);
	assert_false(handoff_has_room(&f->handoff));
	assert_int_equal(handoff_deadline_ms(&f->handoff), due + 10);

	/* An answer that says nothing new is no sign of life. */
	assert_int_equal(handoff_taken(&f->handoff, 0), 0);
	assert_true(f->handoff.late);
	assert_int_equal(handoff_taken(&f->handoff, 1), 0);
	assert_true(handoff_has_room(&f->handoff));
	assert_int_equal(ours(f), 1);
}

/* It still has to read through all of them before it comes to what would be added. */
static void what_came_back_still_counts_against_the_limit(void **state)
{
	struct fixture *f = *state;

	hand_off(f, IPC_IN_FLIGHT_MAX);
	handoff_expire(&f->handoff, INT64_MAX, &f->back);
	assert_int_equal(drop_back(f), IPC_IN_FLIGHT_MAX);
	assert_int_equal(handoff_taken(&f->handoff, 10), 0);
	hand_off(f, 10);
	assert_false(handoff_has_room(&f->handoff));
	assert_int_equal(handoff_taken(&f->handoff, IPC_IN_FLIGHT_MAX + 10), 0);
	assert_int_equal(ours(f), 0);
}

static void numbers_wrap_around(void **state)
{
	struct fixture *f = *state;
	struct transit *t;

	f->handoff.last = f->handoff.sent = f->handoff.taken = UINT32_MAX - 2;
	hand_off(f, 6);
	assert_int_equal(handoff_refused(&f->handoff, 0, ETIMEDOUT, &t), 0);
	assert_non_null(t);
	transit_free(t);
	assert_int_equal(handoff_taken(&f->handoff, UINT32_MAX), 0);
	assert_int_equal(ours(f), 3);
	assert_int_equal(handoff_taken(&f->handoff, 3), 0);
	assert_int_equal(ours(f), 0);
	assert_int_equal(handoff_taken(&f->handoff, 4), -EPROTO);
}

/* KF-4: whatever the kernel has against it. */
static void what_cannot_be_sent_comes_back(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 1);
	add(f, 2, 0);
	struct transit *bad = TAILQ_LAST(&f->handoff.transits, transit_list);
	close_fd(take_fd(&bad->fd));
	assert_int_equal(send_all(f, NOW), -EBADF);
	assert_int_equal(drop_back(f), 2);
	assert_false(handoff_has_room(&f->handoff));
	handoff_retry(&f->handoff);

	/* The numbers of those are given away again. */
	hand_off(f, 1);
	WORLD_RUN_UNTIL(f->world, f->world->worker.count == 2);
	assert_int_equal(body.first, 2);
}

/* DF-1 */
static void everything_comes_back_from_a_dead_worker(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 3);
	assert_int_equal(handoff_taken(&f->handoff, 1), 0);
	channel_close(&f->world->worker.channel);
	add(f, 2, 1);
	assert_int_equal(send_all(f, NOW), 0);
	handoff_end(&f->handoff, &f->back);
	assert_int_equal(ours(f) + 1, 4); /* the worker's end is closed */
	assert_int_equal(drop_back(f), 4);
	assert_true(handoff_has_room(&f->handoff));
	assert_int_equal(handoff_taken(&f->handoff, 1), -EPROTO);
}

static void what_is_on_its_way_is_counted_by_source(void **state)
{
	struct fixture *f = *state;
	uint32_t counts[2] = {10, 20};

	add(f, 3, 0);
	add(f, 2, 1);
	handoff_count(&f->handoff, counts, 2);
	assert_int_equal(counts[0], 13);
	assert_int_equal(counts[1], 22);
	handoff_count(&f->handoff, counts, 1);
	assert_int_equal(counts[0], 16);
	assert_int_equal(counts[1], 22);
}

static void what_comes_back_of_a_source_that_has_gone_comes_without_it(void **state)
{
	struct fixture *f = *state;
	uint32_t counts[2] = {0};
	struct transit *t;

	add(f, 1, 0);
	add(f, 1, 1);
	assert_int_equal(send_all(f, NOW), 0);
	handoff_forget(&f->handoff, &f->sources[0]);
	handoff_count(&f->handoff, counts, 2);
	assert_int_equal(counts[0], 0);
	assert_int_equal(counts[1], 1);
	handoff_end(&f->handoff, &f->back);
	t = TAILQ_FIRST(&f->back);
	assert_null(t->source);
	assert_ptr_equal(TAILQ_NEXT(t, link)->source, &f->sources[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(many_travel_in_one_message_with_their_addresses),
		TEST(a_message_is_of_one_source_and_as_many_as_the_kernel_carries),
		TEST(our_copies_are_closed_when_they_are_answered_and_not_before),
		TEST(an_answer_to_nothing_is_refused),
		TEST(what_is_refused_comes_back_once_and_the_worker_is_full),
		TEST(what_was_found_too_late_does_not_make_a_worker_full),
		TEST(what_waits_for_too_long_comes_back_and_the_worker_is_late),
		TEST(what_came_back_still_counts_against_the_limit),
		TEST(numbers_wrap_around),
		TEST(what_cannot_be_sent_comes_back),
		TEST(everything_comes_back_from_a_dead_worker),
		TEST(what_is_on_its_way_is_counted_by_source),
		TEST(what_comes_back_of_a_source_that_has_gone_comes_without_it),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("handoff", tests, NULL, NULL);
}
