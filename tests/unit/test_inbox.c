/* Connections between their arrival and the answer: none is touched before, none kept too late. */
#include "worker/inbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/fds.h"

#define NOW    INT64_C(5000000000)
#define VALID  (NOW + IPC_VALID_MS)
#define SECOND 7 /* a listener */

struct fixture {
	struct inbox inbox;
	size_t fds;
	uint32_t next; /* number */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->fds = open_fd_count();
	f->next = 1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	inbox_done(&f->inbox);
	bool leaked = open_fd_count() != f->fds;
	free(f);
	return leaked ? -1 : 0;
}

/* Puts as the channel would: what is left of the descriptors is closed. */
static int put(struct fixture *f, uint32_t listener, size_t count, bool lost, int reason)
{
	static struct ipc_peer peers[IPC_FDS_MAX];
	int fds[IPC_FDS_MAX];
	struct ipc_handoff body = {
		.listener = listener,
		.first = f->next,
		.valid_until = {(uint32_t)VALID, (uint32_t)(VALID >> 32)},
	};
	struct ipc_message message = {
		.type = IPC_HANDOFF,
		.body = &body,
		.tail = peers,
		.tail_count = count,
		.fds = fds,
		.n_fds = lost ? 0 : count,
		.lost = lost,
	};

	for (size_t i = 0; i < message.n_fds; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (size_t i = 0; i < count; i++)
		peers[i].size = sizeof(struct sockaddr_in);
	int r = inbox_put(&f->inbox, &message, reason, NOW);
	for (size_t i = 0; i < message.n_fds; i++)
		close_fd(fds[i]);
	if (r == 0)
		f->next += (uint32_t)count;
	return r;
}

static size_t take_all(struct fixture *f, int64_t now_ms)
{
	struct arrival arrival;
	size_t count = 0;

	for (; inbox_take(&f->inbox, now_ms, &arrival); count++) {
		assert_int_equal(arrival.peer.len, sizeof(struct sockaddr_in));
		close_fd(arrival.fd);
	}
	return count;
}

static size_t answer(struct fixture *f, int reason, int64_t now_ms)
{
	struct ipc_progress progress;
	size_t refused;

	inbox_answer(&f->inbox, reason, now_ms, &progress);
	assert_int_equal(progress.taken, f->next - 1);
	assert_false(inbox_waits(&f->inbox));
	refused = f->inbox.n_refused;
	f->inbox.n_refused = 0;
	return refused;
}

static void nothing_is_handed_out_before_the_answer(void **state)
{
	struct fixture *f = *state;

	assert_false(inbox_waits(&f->inbox));
	assert_int_equal(put(f, 0, 3, false, 0), 0);
	assert_true(inbox_waits(&f->inbox));
	assert_int_equal(take_all(f, NOW), 0);
	assert_int_equal(answer(f, 0, NOW), 0);
	assert_int_equal(put(f, SECOND, 2, false, 0), 0);
	assert_int_equal(inbox_count(&f->inbox, 0), 3);
	assert_int_equal(inbox_count(&f->inbox, SECOND), 2);
	assert_int_equal(take_all(f, NOW), 3);
	assert_int_equal(answer(f, 0, NOW), 0);
	assert_int_equal(take_all(f, NOW), 2);
	assert_int_equal(open_fd_count(), f->fds);
}

static void what_is_read_too_late_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false, 0), 0);
	assert_int_equal(answer(f, 0, VALID - 1), 0);
	assert_int_equal(take_all(f, VALID - 1), 2);

	assert_int_equal(put(f, 0, 2, false, 0), 0);
	assert_int_equal(answer(f, 0, VALID), 2);
	assert_int_equal(f->inbox.refused[0].number, 3);
	assert_int_equal(f->inbox.refused[1].number, 4);
	assert_int_equal(f->inbox.refused[1].reason, ETIMEDOUT);
	assert_int_equal(take_all(f, VALID), 0);
	assert_int_equal(open_fd_count(), f->fds);
}

/* The answer may have been too late: another worker may have it. */
static void what_is_answered_too_late_is_closed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 4, false, 0), 0);
	assert_int_equal(answer(f, 0, VALID - 1), 0);
	assert_int_equal(take_all(f, VALID + IPC_GRACE_MS), 0);
	assert_int_equal(open_fd_count(), f->fds);
}

/* IP-4 */
static void what_came_without_descriptors_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, true, EMFILE), 0);
	assert_int_equal(put(f, 0, 1, false, 0), 0);
	assert_int_equal(answer(f, 0, NOW), 2);
	assert_int_equal(f->inbox.refused[0].number, 1);
	assert_int_equal(f->inbox.refused[0].reason, EMFILE);
	assert_int_equal(take_all(f, NOW), 1);
}

static void one_that_ends_refuses_all_without_an_answer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false, 0), 0);
	assert_int_equal(answer(f, 0, NOW), 0);
	assert_int_equal(put(f, 0, 3, false, 0), 0);
	assert_int_equal(answer(f, ESHUTDOWN, NOW), 3);
	assert_int_equal(f->inbox.refused[0].number, 3);
	assert_int_equal(f->inbox.refused[0].reason, ESHUTDOWN);
	assert_int_equal(take_all(f, NOW), 2);
}

static void a_gap_and_a_repetition_break_the_rules(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false, 0), 0);
	f->next++;
	assert_int_equal(put(f, 0, 1, false, 0), -EPROTO);
	f->next -= 2;
	assert_int_equal(put(f, 0, 1, false, 0), -EPROTO);
}

static void more_than_was_agreed_breaks_the_rules(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 200, false, 0), 0);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 199, true, EMFILE), -EPROTO);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 200, true, EMFILE), 0);
	assert_int_equal(put(f, 0, 1, false, 0), -EPROTO);
	assert_int_equal(answer(f, 0, NOW), IPC_IN_FLIGHT_MAX - 200);
	assert_int_equal(put(f, 0, 56, false, 0), 0);
	assert_int_equal(put(f, 0, 1, false, 0), -EPROTO);
}

static void an_address_that_is_too_long_breaks_the_rules(void **state)
{
	struct ipc_handoff body = {.first = 1};
	struct ipc_peer peer = {.size = sizeof(struct sockaddr_un) + 1};
	struct ipc_message message = {.body = &body, .tail = &peer, .tail_count = 1, .lost = true};
	struct fixture *f = *state;

	assert_int_equal(inbox_put(&f->inbox, &message, EMFILE, NOW), -EPROTO);
}

static void numbers_and_the_ring_wrap_around(void **state)
{
	struct fixture *f = *state;

	f->inbox.last = f->inbox.answered = UINT32_MAX - 300;
	f->next = UINT32_MAX - 299;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(put(f, 0, 100, false, 0), 0);
		assert_int_equal(answer(f, 0, NOW), 0);
		assert_int_equal(put(f, 0, 50, false, 0), 0);
		assert_int_equal(answer(f, 0, VALID), 50);
		assert_int_equal(take_all(f, NOW), 100);
	}
	assert_int_equal(open_fd_count(), f->fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(nothing_is_handed_out_before_the_answer),
		TEST(what_is_read_too_late_is_refused),
		TEST(what_is_answered_too_late_is_closed),
		TEST(what_came_without_descriptors_is_refused),
		TEST(one_that_ends_refuses_all_without_an_answer),
		TEST(a_gap_and_a_repetition_break_the_rules),
		TEST(more_than_was_agreed_breaks_the_rules),
		TEST(an_address_that_is_too_long_breaks_the_rules),
		TEST(numbers_and_the_ring_wrap_around),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
