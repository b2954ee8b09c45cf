/* What is on its way to a worker: kept until it is taken, given back otherwise, closed exactly
 * once.
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
	struct claims theirs; /* the worker's */
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

static void open_claims(struct fixture *f)
{
	AUTO_CLOSE int fd = -1;

	assert_int_equal(handoff_open(&f->handoff, &fd), 0);
	assert_int_equal(claims_open(&f->theirs, fd), 0);
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
	open_claims(f);
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
	claims_close(&f->theirs);
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

/* The worker takes all up to a number. */
static void take(struct fixture *f, uint32_t number)
{
	claims_take(&f->theirs, number);
}

static int look(struct fixture *f)
{
	return handoff_look(&f->handoff, &f->back);
}

static void take_and_look(struct fixture *f, uint32_t number)
{
	take(f, number);
	assert_int_equal(look(f), 0);
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
static void our_copies_are_closed_when_we_see_them_taken_and_not_before(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 5);
	WORLD_RUN_UNTIL(f->world, f->world->worker.count == 1);
	assert_int_equal(look(f), 0);
	assert_int_equal(ours(f), 5);
	take(f, 2);
	assert_int_equal(ours(f), 5);
	assert_true(claims_is_held(&f->theirs, 1));
	assert_int_equal(look(f), 0);
	assert_int_equal(ours(f), 3);
	assert_false(claims_is_held(&f->theirs, 2));
	assert_true(claims_is_held(&f->theirs, 3));
	take_and_look(f, 5);
	assert_int_equal(ours(f), 0);
	assert_int_equal(handoff_deadline_ms(&f->handoff), 0);
}

static void what_is_told_by_message_counts_when_it_is_told(void **state)
{
	struct fixture *f = *state;

	f->handoff.by_message = true;
	hand_off(f, 4);
	take_and_look(f, 3);
	assert_int_equal(handoff_unanswered(&f->handoff), 4);
	assert_int_equal(handoff_told(&f->handoff, 2, &f->back), 0);
	assert_int_equal(handoff_unanswered(&f->handoff), 2);
	assert_int_equal(ours(f), 2);
	assert_int_equal(handoff_told(&f->handoff, 4, &f->back), -EPROTO);
	assert_int_equal(handoff_told(&f->handoff, 1, &f->back), 0);
	assert_int_equal(handoff_unanswered(&f->handoff), 2);

	/* What it has taken and not told is still its own. */
	assert_int_equal(handoff_expire(&f->handoff, INT64_MAX, &f->back), 0);
	assert_int_equal(drop_back(f), 1);
	assert_int_equal(handoff_told(&f->handoff, 3, &f->back), 0);
	assert_int_equal(ours(f), 0);
}

/* Each spoils the page in its way; nothing is given away for it, and nothing is closed. */
static void a_page_that_says_what_cannot_be_is_refused(void **state)
{
	struct fixture *f = *state;
	struct claims_state now;

	hand_off(f, 4);
	add(f, 1, 0);
	take_and_look(f, 3);
	const uint32_t lies[] = {5, UINT32_MAX, 2, 0};
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		take(f, lies[i]);
		assert_int_equal(look(f), -EPROTO);
		f->handoff.broken = false;
		assert_int_equal(handoff_told(&f->handoff, 4, &f->back), -EPROTO);
		f->handoff.broken = false;
		assert_int_equal(handoff_expire(&f->handoff, INT64_MAX, &f->back), -EPROTO);
		f->handoff.broken = false;
	}
	take(f, 4);
	now = claims_read(&f->theirs);
	assert_true(claims_withdraw(&f->theirs, &now, 9));
	assert_int_equal(look(f), -EPROTO);

	/* Once is enough. */
	assert_int_equal(look(f), 0);
	assert_false(handoff_has_room(&f->handoff));
	assert_int_equal(ours(f), 2);
	assert_true(TAILQ_EMPTY(&f->back));

	/* When its process is dead, what it was not seen to take is somebody's. */
	handoff_end(&f->handoff, &f->back);
	assert_int_equal(drop_back(f), 2);
}

static void what_is_refused_comes_back_once_and_the_worker_is_full(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 3);
	claims_set_reason(&f->theirs, 2, EMFILE);
	assert_int_equal(look(f), 0);
	assert_int_equal(f->handoff.full, 0);
	take_and_look(f, 3);
	assert_int_equal(f->handoff.full, EMFILE);
	assert_int_equal(drop_back(f), 1);
	assert_int_equal(ours(f), 0);
	assert_int_equal(look(f), 0);
	assert_true(TAILQ_EMPTY(&f->back));
	assert_false(handoff_has_room(&f->handoff));
	handoff_retry(&f->handoff);
	assert_true(handoff_has_room(&f->handoff));
}

static void who_lets_one_wait_for_too_long_loses_all_and_is_late(void **state)
{
	struct fixture *f = *state;
	const int64_t due = NOW + HANDOFF_PATIENCE_MS;

	hand_off(f, 2);
	add(f, 1, 0);
	assert_int_equal(send_all(f, NOW + 10), 0);
	assert_int_equal(handoff_deadline_ms(&f->handoff), due);
	assert_int_equal(handoff_expire(&f->handoff, due - 1, &f->back), 0);
	assert_true(TAILQ_EMPTY(&f->back));
	assert_true(handoff_has_room(&f->handoff));

	/* It took one before anybody looked. */
	take(f, 1);
	assert_int_equal(handoff_expire(&f->handoff, due, &f->back), 0);
	assert_int_equal(drop_back(f), 2);
	assert_true(f->handoff.late);
	assert_false(handoff_has_room(&f->handoff));
	assert_int_equal(look(f), 0);
	assert_int_equal(ours(f), 0);
	f->handoff.late = true;

	/* What it finds now is not its any more; but it is there again. */
	assert_int_equal(claims_take(&f->theirs, 3), 3);
	assert_int_equal(look(f), 0);
	assert_true(handoff_has_room(&f->handoff));
}

/* It still has to read through all of them before it comes to what would be added. */
static void what_came_back_still_counts_against_the_limit(void **state)
{
	struct fixture *f = *state;

	hand_off(f, IPC_IN_FLIGHT_MAX);
	assert_int_equal(handoff_expire(&f->handoff, INT64_MAX, &f->back), 0);
	assert_int_equal(drop_back(f), IPC_IN_FLIGHT_MAX);
	take_and_look(f, 10);
	hand_off(f, 10);
	assert_false(handoff_has_room(&f->handoff));
	take_and_look(f, IPC_IN_FLIGHT_MAX + 10);
	assert_int_equal(ours(f), 0);
	assert_true(handoff_has_room(&f->handoff));
}

static void numbers_wrap_around(void **state)
{
	struct fixture *f = *state;
	const uint32_t start = UINT32_MAX - 2;

	for (uint32_t quarter = 1; quarter < 4; quarter++)
		take(f, quarter * (UINT32_MAX / 4));
	take(f, start);
	f->handoff.last = f->handoff.sent = f->handoff.taken = f->handoff.withdrawn = start;
	hand_off(f, 6);
	claims_set_reason(&f->theirs, 0, EMFILE);
	take_and_look(f, UINT32_MAX);
	assert_int_equal(ours(f), 4);
	take_and_look(f, 3);
	assert_int_equal(drop_back(f), 1);
	assert_int_equal(ours(f), 0);
	take(f, 4);
	assert_int_equal(look(f), -EPROTO);
}

static void a_new_bell_asks_for_a_look(void **state)
{
	struct fixture *f = *state;

	assert_true(handoff_want_bell(&f->handoff, true));
	assert_true(claims_wants_bell(&f->theirs));
	assert_false(handoff_want_bell(&f->handoff, true));
	assert_false(handoff_want_bell(&f->handoff, false));
	assert_false(claims_wants_bell(&f->theirs));
}

static void nobody_takes_without_a_page(void **state)
{
	struct fixture *f = *state;

	handoff_end(&f->handoff, &f->back);
	assert_false(handoff_has_room(&f->handoff));
	assert_false(handoff_want_bell(&f->handoff, true));
	assert_int_equal(look(f), 0);
	f->handoff.by_message = true;
	assert_int_equal(handoff_told(&f->handoff, 0, &f->back), -EPROTO);
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

/* What it says to have taken without reading it must not use up our descriptors. */
static void who_does_not_read_is_given_no_more(void **state)
{
	struct fixture *f = *state;
	int error = 0;

	for (int i = 0; i < 5000 && error == 0; i++) {
		add(f, 1, 0);
		error = send_all(f, NOW);
		take_and_look(f, f->handoff.sent);
	}
	assert_true(error < 0);
	assert_int_equal(f->handoff.full, -error);
	assert_int_equal(drop_back(f), 1);
	assert_true(TAILQ_EMPTY(&f->handoff.transits));
	assert_true(ours(f) <= 16);
}

/* DF-1: what it had taken dies with it, for it may have been served. */
static void all_that_a_dead_worker_had_not_taken_comes_back(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 4);
	take_and_look(f, 1);
	claims_set_reason(&f->theirs, 3, EMFILE);
	take(f, 3);
	channel_close(&f->world->worker.channel);
	add(f, 2, 1);
	assert_int_equal(send_all(f, NOW), 0);
	handoff_end(&f->handoff, &f->back);
	assert_int_equal(ours(f) + 1, 4); /* the worker's end is closed */
	assert_int_equal(drop_back(f), 4);

	/* The next one starts anew. */
	claims_close(&f->theirs);
	open_claims(f);
	assert_true(handoff_has_room(&f->handoff));
	take(f, 1);
	assert_int_equal(look(f), -EPROTO);
}

/* A signal that ends it may come later than we go on. */
static void what_came_back_at_the_end_cannot_be_taken_any_more(void **state)
{
	struct fixture *f = *state;

	hand_off(f, 4);
	take(f, 1);
	handoff_end(&f->handoff, &f->back);
	assert_int_equal(claims_take(&f->theirs, 4), 4);
	assert_int_equal(drop_back(f), 3);
}

static void what_is_on_its_way_is_counted_by_source(void **state)
{
	struct fixture *f = *state;
	uint32_t counts[2] = {10, 20};

	add(f, 3, 0);
	add(f, 2, 1);
	transit_count(&f->handoff.transits, counts, 2);
	assert_int_equal(counts[0], 13);
	assert_int_equal(counts[1], 22);
	transit_count(&f->handoff.transits, counts, 1);
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
	transit_count(&f->handoff.transits, counts, 2);
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
		TEST(our_copies_are_closed_when_we_see_them_taken_and_not_before),
		TEST(what_is_told_by_message_counts_when_it_is_told),
		TEST(a_page_that_says_what_cannot_be_is_refused),
		TEST(what_is_refused_comes_back_once_and_the_worker_is_full),
		TEST(who_lets_one_wait_for_too_long_loses_all_and_is_late),
		TEST(what_came_back_still_counts_against_the_limit),
		TEST(numbers_wrap_around),
		TEST(a_new_bell_asks_for_a_look),
		TEST(nobody_takes_without_a_page),
		TEST(what_cannot_be_sent_comes_back),
		TEST(who_does_not_read_is_given_no_more),
		TEST(all_that_a_dead_worker_had_not_taken_comes_back),
		TEST(what_came_back_at_the_end_cannot_be_taken_any_more),
		TEST(what_is_on_its_way_is_counted_by_source),
		TEST(what_comes_back_of_a_source_that_has_gone_comes_without_it),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("handoff", tests, NULL, NULL);
}
