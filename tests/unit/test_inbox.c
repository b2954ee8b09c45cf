/* Connections between their arrival and their taking: none is handed out before, none that is
 * another's, and each can be refused until it is taken.
 */
#include "common/cluster/inbox.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/fds.h"

#define SECOND 7 /* a listener */
#define NOBODY 8

struct fixture {
	struct claims ours; /* the supervisor's */
	struct claims claims;
	struct inbox inbox;
	size_t fds;
	uint32_t next; /* number */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	int fd;

	f->fds = open_fd_count();
	f->next = 1;
	assert_int_equal(claims_new(&f->ours, &fd), 0);
	assert_int_equal(claims_open(&f->claims, fd), 0);
	close_fd(fd);
	inbox_init(&f->inbox, &f->claims);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	inbox_done(&f->inbox);
	claims_close(&f->ours);
	claims_close(&f->claims);
	bool leaked = open_fd_count() != f->fds;
	free(f);
	return leaked ? -1 : 0;
}

/* Puts as the channel would: what is left of the descriptors is closed. */
static int put(struct fixture *f, uint32_t listener, size_t count, bool lost)
{
	static struct ipc_peer peers[IPC_FDS_MAX];
	int fds[IPC_FDS_MAX];
	struct ipc_handoff body = {
		.listener = listener,
		.first = f->next,
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
	int r = inbox_put(&f->inbox, &message);
	for (size_t i = 0; i < message.n_fds; i++)
		close_fd(fds[i]);
	if (r == 0)
		f->next += (uint32_t)count;
	return r;
}

/* Takes and closes the next ones until a listener's comes, or all. Returns how many were ours. */
static size_t take_until(struct fixture *f, uint32_t listener)
{
	const struct arrival *next;
	struct arrival arrival;
	size_t count = 0;

	while ((next = inbox_next(&f->inbox)) && next->listener != listener) {
		uint32_t number = next->number;

		if (inbox_take(&f->inbox, &arrival)) {
			assert_int_equal(arrival.peer.len, sizeof(struct sockaddr_in));
			close_fd(arrival.fd);
			count++;
		}
		assert_int_equal(claims_read(&f->ours).taken, number);
	}
	return count;
}

static size_t take(struct fixture *f)
{
	return take_until(f, NOBODY);
}

/* Returns whether the supervisor is to be told. */
static bool finish(struct fixture *f)
{
	bool tell = inbox_finish(&f->inbox);

	assert_int_equal(claims_read(&f->ours).taken, f->next - 1);
	assert_false(inbox_waits(&f->inbox));
	return tell;
}

static void withdraw(struct fixture *f, uint32_t number)
{
	struct claims_state now = claims_read(&f->ours);

	assert_true(claims_withdraw(&f->ours, &now, number));
}

static void expect_reason(struct fixture *f, uint32_t number, int reason)
{
	assert_int_equal(claims_reason(&f->ours, number), reason);
}

static void each_is_taken_by_itself(void **state)
{
	struct fixture *f = *state;

	assert_false(inbox_waits(&f->inbox));
	assert_null(inbox_next(&f->inbox));
	assert_int_equal(put(f, 0, 3, false), 0);
	assert_int_equal(put(f, SECOND, 2, false), 0);
	assert_true(inbox_waits(&f->inbox));
	assert_int_equal(claims_read(&f->ours).taken, 0);
	assert_int_equal(take_until(f, SECOND), 3);
	assert_int_equal(claims_read(&f->ours).taken, 3);
	assert_true(inbox_waits(&f->inbox));
	assert_int_equal(take(f), 2);
	assert_false(finish(f));
	assert_int_equal(open_fd_count(), f->fds);
}

/* LS-12: what was taken before the server was closed is its connection. */
static void what_is_not_taken_can_be_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 1, false), 0);
	assert_int_equal(put(f, SECOND, 2, false), 0);
	assert_int_equal(put(f, 0, 1, false), 0);
	assert_int_equal(put(f, SECOND, 1, false), 0);
	assert_int_equal(take_until(f, SECOND), 1);
	inbox_refuse(&f->inbox, ESHUTDOWN);
	inbox_refuse(&f->inbox, ESHUTDOWN);
	assert_int_equal(claims_read(&f->ours).taken, 1);
	assert_int_equal(take_until(f, SECOND), 1);
	inbox_refuse(&f->inbox, ESHUTDOWN);
	assert_int_equal(claims_read(&f->ours).taken, 4);
	assert_true(finish(f));
	expect_reason(f, 1, 0);
	expect_reason(f, 2, ESHUTDOWN);
	expect_reason(f, 3, ESHUTDOWN);
	expect_reason(f, 4, 0);
	expect_reason(f, 5, ESHUTDOWN);
	assert_false(finish(f));
	assert_int_equal(open_fd_count(), f->fds);
}

/* IP-4: it may be another worker's by now. */
static void what_was_withdrawn_is_closed_and_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false), 0);
	assert_int_equal(take(f), 2);
	assert_false(finish(f));
	assert_int_equal(put(f, 0, 2, false), 0);
	withdraw(f, 5); /* one more is on its way */
	assert_int_equal(take(f), 0);
	assert_true(finish(f));
	assert_int_equal(open_fd_count(), f->fds);
	assert_int_equal(put(f, 0, 2, false), 0);
	assert_int_equal(take(f), 1);
	assert_true(finish(f));
	assert_int_equal(put(f, 0, 1, false), 0);
	assert_int_equal(take(f), 1);
	assert_false(finish(f));
}

/* IP-4: by a supervisor that finds the worker too slow. */
static void what_is_withdrawn_while_others_are_taken_is_closed_and_told(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false), 0);
	assert_int_equal(put(f, SECOND, 2, false), 0);
	assert_int_equal(take_until(f, SECOND), 2);
	withdraw(f, 4);
	assert_int_equal(take(f), 0);
	assert_true(finish(f));
	assert_int_equal(open_fd_count(), f->fds);
}

/* IP-4 */
static void what_came_without_descriptors_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, true), 0);
	assert_int_equal(put(f, 0, 1, false), 0);
	assert_int_equal(take(f), 1);
	assert_true(finish(f));
	expect_reason(f, 1, EMFILE);
	expect_reason(f, 2, EMFILE);
	expect_reason(f, 3, 0);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 4, false), 0);
	assert_int_equal(put(f, 0, 2, false), 0);
	assert_int_equal(take(f), IPC_IN_FLIGHT_MAX - 2);
	assert_false(finish(f));
	expect_reason(f, 1 + IPC_IN_FLIGHT_MAX, 0);
}

static void without_a_page_nothing_may_come(void **state)
{
	struct fixture *f = *state;

	claims_close(&f->claims);
	assert_int_equal(put(f, 0, 1, false), -EPROTO);
}

static void a_gap_and_a_repetition_break_the_rules(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 2, false), 0);
	f->next++;
	assert_int_equal(put(f, 0, 1, false), -EPROTO);
	f->next -= 2;
	assert_int_equal(put(f, 0, 1, false), -EPROTO);
}

static void more_than_was_agreed_breaks_the_rules(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, 0, 200, false), 0);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 199, true), -EPROTO);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 200, true), 0);
	assert_int_equal(put(f, 0, 1, false), -EPROTO);
	assert_int_equal(take(f), 200);
	assert_true(finish(f));
	assert_int_equal(put(f, 0, 200, false), 0);
	assert_int_equal(put(f, 0, IPC_IN_FLIGHT_MAX - 200, false), 0);
	assert_int_equal(put(f, 0, 1, false), -EPROTO);
}

static void an_address_that_is_too_long_breaks_the_rules(void **state)
{
	struct ipc_handoff body = {.first = 1};
	struct ipc_peer peer = {.size = sizeof(struct sockaddr_un) + 1};
	struct ipc_message message = {.body = &body, .tail = &peer, .tail_count = 1, .lost = true};
	struct fixture *f = *state;

	assert_int_equal(inbox_put(&f->inbox, &message), -EPROTO);
}

static void numbers_and_the_ring_wrap_around(void **state)
{
	struct fixture *f = *state;

	f->inbox.last = f->inbox.taken = UINT32_MAX - 300;
	for (uint32_t quarter = 1; quarter < 4; quarter++)
		claims_take(&f->claims, quarter * (UINT32_MAX / 4));
	claims_take(&f->claims, UINT32_MAX - 300);
	f->next = UINT32_MAX - 299;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(put(f, 0, 100, false), 0);
		assert_int_equal(take(f), 100);
		assert_false(finish(f));
		assert_int_equal(put(f, 0, 50, false), 0);
		withdraw(f, f->next - 1);
		assert_int_equal(take(f), 0);
		assert_true(finish(f));
	}
	assert_int_equal(open_fd_count(), f->fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(each_is_taken_by_itself),
		TEST(what_is_not_taken_can_be_refused),
		TEST(what_was_withdrawn_is_closed_and_told),
		TEST(what_is_withdrawn_while_others_are_taken_is_closed_and_told),
		TEST(what_came_without_descriptors_is_refused),
		TEST(without_a_page_nothing_may_come),
		TEST(a_gap_and_a_repetition_break_the_rules),
		TEST(more_than_was_agreed_breaks_the_rules),
		TEST(an_address_that_is_too_long_breaks_the_rules),
		TEST(numbers_and_the_ring_wrap_around),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
