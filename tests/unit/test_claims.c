/* The memory in which a worker takes connections: each is taken or withdrawn, whoever comes first,
 * and the worker can spoil no more than what it says. */
#include "common/ipc/claims.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/ipc/messages.h"
#include "common/macros.h"
#include "tests/helpers/fds.h"

/* Numbers over which the two quarrel. */
#define MANY 2000000
#define FEW  7

struct pair {
	struct claims ours;   /* the supervisor's */
	struct claims theirs; /* the worker's, mapped a second time */
	int fd;
	size_t fds;
	uint8_t *owners; /* by number: 1 the worker, 2 the supervisor */
	uint32_t sent;   /* atomic */
};

static int setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->fds = open_fd_count();
	assert_int_equal(claims_new(&p->ours, &p->fd), 0);
	assert_int_equal(claims_open(&p->theirs, p->fd), 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	claims_close(&p->ours);
	claims_close(&p->theirs);
	claims_close(&p->theirs);
	close_fd(p->fd);
	bool leaked = open_fd_count() != p->fds;
	free(p->owners);
	free(p);
	return leaked ? -1 : 0;
}

static void expect_state(struct pair *p, uint32_t taken, uint32_t withdrawn)
{
	struct claims_state state = claims_read(&p->ours);

	assert_int_equal(state.taken, taken);
	assert_int_equal(state.withdrawn, withdrawn);
}

static void what_is_taken_is_seen_with_its_reasons(void **state)
{
	struct pair *p = *state;

	expect_state(p, 0, 0);
	claims_set_reason(&p->theirs, 1, 0);
	claims_set_reason(&p->theirs, 2, EMFILE);
	claims_set_reason(&p->theirs, 3, 0);
	assert_int_equal(claims_take(&p->theirs, 3), 0);
	expect_state(p, 3, 3);
	assert_int_equal(claims_reason(&p->ours, 1), 0);
	assert_int_equal(claims_reason(&p->ours, 2), EMFILE);
	assert_int_equal(claims_reason(&p->ours, 3), 0);
	claims_set_reason(&p->theirs, 2 + IPC_IN_FLIGHT_MAX, 0);
	assert_int_equal(claims_reason(&p->ours, 2 + IPC_IN_FLIGHT_MAX), 0);
}

static void what_is_withdrawn_is_not_the_workers(void **state)
{
	struct pair *p = *state;
	struct claims_state now = claims_read(&p->ours);

	assert_int_equal(claims_take(&p->theirs, 2), 0);
	assert_false(claims_withdraw(&p->ours, &now, 5));
	assert_int_equal(now.taken, 2);
	assert_true(claims_withdraw(&p->ours, &now, 5));
	expect_state(p, 2, 5);

	/* It comes to know of it as long as it has not passed them. */
	assert_int_equal(claims_take(&p->theirs, 4), 5);
	expect_state(p, 4, 5);
	assert_int_equal(claims_take(&p->theirs, 6), 5);
	expect_state(p, 6, 6);
	assert_int_equal(claims_take(&p->theirs, 7), 6);
}

static void numbers_wrap_around(void **state)
{
	struct pair *p = *state;
	struct claims_state now;

	for (uint32_t n = 0; n < 8; n++)
		claims_take(&p->theirs, n * (UINT32_MAX / 8));
	claims_take(&p->theirs, UINT32_MAX - 1);
	now = claims_read(&p->ours);
	assert_int_equal(now.withdrawn, UINT32_MAX - 1);
	assert_true(claims_withdraw(&p->ours, &now, 1));
	assert_int_equal(claims_take(&p->theirs, 3), 1);
	expect_state(p, 3, 3);
	assert_true(claims_is_before(UINT32_MAX, 0));
	assert_false(claims_is_before(0, UINT32_MAX));
	assert_false(claims_is_before(7, 7));
}

static void copies_are_held_until_they_are_let_go(void **state)
{
	struct pair *p = *state;

	claims_take(&p->theirs, 3);
	assert_true(claims_is_held(&p->theirs, 1));
	claims_let_go(&p->ours, 2);
	assert_false(claims_is_held(&p->theirs, 1));
	assert_false(claims_is_held(&p->theirs, 2));
	assert_true(claims_is_held(&p->theirs, 3));
}

static void the_bell_is_wanted_until_it_is_not(void **state)
{
	struct pair *p = *state;

	assert_false(claims_wants_bell(&p->theirs));
	claims_want_bell(&p->ours, true);
	assert_true(claims_wants_bell(&p->theirs));
	claims_want_bell(&p->ours, false);
	assert_false(claims_wants_bell(&p->theirs));
}

static void ends_are_counted_by_tally(void **state)
{
	struct pair *p = *state;

	claims_count_end(&p->theirs, 1);
	claims_count_end(&p->theirs, CLAIMS_TALLIES);
	claims_count_end(&p->theirs, CLAIMS_TALLIES);
	claims_count_end(&p->theirs, 0);
	claims_count_end(&p->theirs, CLAIMS_TALLIES + 1);
	assert_int_equal(claims_ended(&p->ours, 1), 1);
	assert_int_equal(claims_ended(&p->ours, 2), 0);
	assert_int_equal(claims_ended(&p->ours, CLAIMS_TALLIES), 2);
	expect_state(p, 0, 0);
}

/* A page that became shorter would kill the supervisor when it looks. */
static void the_worker_cannot_cut_the_page_off(void **state)
{
	struct pair *p = *state;

	assert_int_equal(ftruncate(p->fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(p->fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EPERM);
	expect_state(p, 0, 0);
}

static void what_is_no_page_is_refused(void **state)
{
	AUTO_CLOSE int empty = memfd_create("empty", MFD_CLOEXEC);
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct claims claims;

	assert_int_equal(claims_open(&claims, empty), -EPROTO);
	assert_int_equal(claims_open(&claims, null), -EPROTO);
	assert_int_equal(claims_open(&claims, -1), -EBADF);
	assert_null(claims.page);
}

/* --- both at once ----------------------------------------------------------------------------- */

/* Takes up to whatever was sent, a few at a time. */
static void *be_the_worker(void *argument)
{
	struct pair *p = argument;
	uint32_t taken = 0;

	while (taken < MANY) {
		uint32_t sent = __atomic_load_n(&p->sent, __ATOMIC_ACQUIRE);

		if (sent == taken)
			continue;
		uint32_t upto = taken + 1 + (sent - taken - 1) / 2;
		uint32_t withdrawn = claims_take(&p->theirs, upto);
		for (uint32_t n = taken + 1; n != upto + 1; n++)
			if (claims_is_before(withdrawn, n))
				__atomic_fetch_add(&p->owners[n], 1, __ATOMIC_RELAXED);
		taken = upto;
	}
	return NULL;
}

/* Withdraws what is left of some. Returns up to which number it has. */
static uint32_t withdraw_some(struct pair *p, uint32_t withdrawn, uint32_t sent)
{
	struct claims_state now = claims_read(&p->ours);

	while (!claims_withdraw(&p->ours, &now, sent))
		;
	for (uint32_t n = withdrawn + 1; n != sent + 1; n++)
		if (claims_is_before(now.taken, n))
			__atomic_fetch_add(&p->owners[n], 2, __ATOMIC_RELAXED);
	return sent;
}

/* DF-1: no connection is lost, and none is served twice. */
static void each_number_has_one_owner_whoever_comes_first(void **state)
{
	struct pair *p = *state;
	size_t counts[4] = {0};
	uint32_t withdrawn = 0;
	pthread_t worker;

	p->owners = calloc(MANY + 1, 1);
	assert_non_null(p->owners);
	/* The first are withdrawn before the worker runs, the last are left to it. */
	withdrawn = withdraw_some(p, 0, FEW);
	assert_int_equal(pthread_create(&worker, NULL, be_the_worker, p), 0);
	for (uint32_t sent = FEW; sent < MANY - FEW;
	     withdrawn = withdraw_some(p, withdrawn, sent)) {
		sent += sent % FEW + 1;
		__atomic_store_n(&p->sent, sent, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&p->sent, MANY, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(worker, NULL), 0);
	for (uint32_t n = 1; n <= MANY; n++)
		counts[p->owners[n]]++;
	assert_int_equal(counts[0], 0);
	assert_int_equal(counts[3], 0);
	assert_true(counts[1] > 0 && counts[2] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(what_is_taken_is_seen_with_its_reasons),
		TEST(what_is_withdrawn_is_not_the_workers),
		TEST(numbers_wrap_around),
		TEST(copies_are_held_until_they_are_let_go),
		TEST(the_bell_is_wanted_until_it_is_not),
		TEST(ends_are_counted_by_tally),
		TEST(the_worker_cannot_cut_the_page_off),
		TEST(what_is_no_page_is_refused),
		TEST(each_number_has_one_owner_whoever_comes_first),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
