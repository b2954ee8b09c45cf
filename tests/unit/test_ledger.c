/* Permits: whatever is given, taken back, lied about or lost, there are never more than the limit.
 */
#include "daemon/ledger.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 4
#define STEPS   200000

/* A worker as it really is, and the messages that are on their way between it and us. */
struct worker {
	struct account account;
	uint32_t held; /* as it believes */
	uint32_t used;
	struct {
		uint32_t serial, granted, count;
	} permits[64]; /* on their way to it */
	size_t n_permits;
	uint32_t serial, granted;
	struct holding tells[64]; /* on their way to us */
	size_t n_tells;
};

static void grant(struct ledger *l, struct worker *w, uint32_t count, uint32_t keep)
{
	if (w->n_permits == 64)
		return;
	count = ledger_grant(l, &w->account, count, keep);
	w->permits[w->n_permits].serial = w->account.serial;
	w->permits[w->n_permits].granted = w->account.granted;
	w->permits[w->n_permits++].count = count;
}

static void receive(struct worker *w)
{
	if (w->n_permits == 0)
		return;
	w->held += w->permits[0].count;
	w->serial = w->permits[0].serial;
	w->granted = w->permits[0].granted;
	memmove(w->permits, w->permits + 1, --w->n_permits * sizeof(w->permits[0]));
}

static void give_back(struct worker *w, uint32_t keep)
{
	if (w->n_tells == 64)
		return;
	keep = keep < w->used ? w->used : keep;
	w->held = w->held < keep ? w->held : keep;
	w->tells[w->n_tells++] = (struct holding){w->serial, w->granted, w->held, w->used};
}

static void hear(struct ledger *l, struct worker *w)
{
	if (w->n_tells == 0)
		return;
	assert_int_equal(ledger_tell(l, &w->account, &w->tells[0]), 0);
	memmove(w->tells, w->tells + 1, --w->n_tells * sizeof(w->tells[0]));
}

static void die(struct ledger *l, struct worker *w)
{
	ledger_bury(l, &w->account);
	*w = (struct worker){0};
}

/* Of all that there are: what workers believe to hold, and what is on its way to them. */
static void check(const struct ledger *l, const struct worker *workers, uint32_t limit)
{
	uint32_t real = l->in_transit, noted = 0;

	for (size_t i = 0; i < WORKERS; i++) {
		real += workers[i].held;
		for (size_t j = 0; j < workers[i].n_permits; j++)
			real += workers[i].permits[j].count;
		noted += workers[i].account.held + workers[i].account.limbo;
	}
	assert_int_equal(noted, l->held);
	assert_true(real <= ledger_in_use(l));
	assert_true(ledger_in_use(l) <= limit);
	assert_int_equal(ledger_free(l) + ledger_in_use(l), limit);
}

/* Limit */
static void at_random_there_are_never_more_than_the_limit(void **state)
{
	const uint32_t limits[] = {1, 3, 100};

	for (size_t n = 0; n < 3; n++) {
		struct ledger l = {.limit = limits[n], .cap = n == 2 ? 40 : 0};
		struct worker workers[WORKERS] = {0};

		srand(20261122);
		for (int step = 0; step < STEPS; step++) {
			struct worker *w = &workers[rand() % WORKERS];

			switch (rand() % 8) {
			case 0:
				grant(&l, w, (uint32_t)rand() % 20, (uint32_t)rand() % 20);
				break;
			case 1:
				receive(w);
				break;
			case 2:
				w->used = w->held ? (uint32_t)rand() % (w->held + 1) : 0;
				break;
			case 3:
				give_back(w, (uint32_t)rand() % 20);
				break;
			case 4:
				hear(&l, w);
				break;
			case 5:
				if (ledger_take(&l))
					ledger_put_back(&l);
				break;
			case 6:
				assert_true(l.cap == 0 || w->account.held <= l.cap);
				break;
			default:
				if (rand() % 50 == 0)
					die(&l, w);
			}
			check(&l, workers, limits[n]);
		}
	}
}

/* Limit */
static void what_is_handed_off_ends_and_is_free_again(void **state)
{
	struct ledger l = {.limit = 2};
	struct account a = {0};

	assert_true(ledger_take(&l));
	assert_true(ledger_take(&l));
	assert_false(ledger_take(&l));
	ledger_arrive(&l, &a);
	ledger_arrive(&l, &a);
	assert_int_equal(ledger_tell_ended(&l, &a, 1), 0);
	assert_int_equal(ledger_free(&l), 1);
	/* It is told in all, so nothing counts twice. */
	assert_int_equal(ledger_tell_ended(&l, &a, 1), 0);
	assert_int_equal(ledger_free(&l), 1);
	assert_int_equal(ledger_tell_ended(&l, &a, 2), 0);
	assert_int_equal(ledger_free(&l), 2);
}

static void more_than_a_worker_has_cannot_end(void **state)
{
	struct ledger l = {.limit = 5};
	struct account a = {0}, other = {0};

	assert_true(ledger_take(&l) && ledger_take(&l));
	ledger_arrive(&l, &a);
	ledger_arrive(&l, &other);
	assert_int_equal(ledger_tell_ended(&l, &a, 2), -EPROTO);
	assert_int_equal(ledger_tell_ended(&l, &a, UINT32_MAX), -EPROTO);
	assert_int_equal(ledger_in_use(&l), 2);
}

static void a_worker_lies_only_about_its_own(void **state)
{
	struct ledger l = {.limit = 10};
	struct account a = {0}, other = {0};
	const struct holding lies[] = {
		{1, 4, 5, 0},  /* more than it was given */
		{1, 4, 3, 4},  /* more used than kept */
		{2, 4, 4, 0},  /* an answer to what was never sent */
		{1, 5, 4, 0},  /* more granted than there was */
		{1, 3, 4, 0},  /* kept, and on its way as well */
		{1, 0, 10, 0}, /* the other's */
		{UINT32_MAX, 4, 4, 0},
	};

	assert_int_equal(ledger_grant(&l, &other, 6, 6), 6);
	assert_int_equal(ledger_grant(&l, &a, 9, 9), 4);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		assert_int_equal(ledger_tell(&l, &a, &lies[i]), -EPROTO);
	assert_int_equal(ledger_free(&l), 0);
	assert_int_equal(ledger_tell(&l, &a, &(struct holding){1, 4, 1, 1}), 0);
	assert_int_equal(ledger_free(&l), 3);
	assert_int_equal(other.held, 6);
}

static void what_was_given_since_it_spoke_is_not_lost(void **state)
{
	struct ledger l = {.limit = 10};
	struct account a = {0};

	assert_int_equal(ledger_grant(&l, &a, 4, 4), 4);
	assert_int_equal(ledger_grant(&l, &a, 3, 7), 3);
	assert_int_equal(ledger_tell(&l, &a, &(struct holding){1, 4, 2, 2}), 0);
	assert_int_equal(a.held, 5);
	assert_true(ledger_waits(&a));
	assert_int_equal(ledger_tell(&l, &a, &(struct holding){2, 7, 5, 2}), 0);
	assert_false(ledger_waits(&a));
	assert_int_equal(ledger_free(&l), 5);
}

/* Limit */
static void a_limit_that_falls_below_what_is_in_use_waits(void **state)
{
	struct ledger l = {.limit = 8};
	struct account a = {0};

	assert_int_equal(ledger_grant(&l, &a, 8, 8), 8);
	l.limit = 4;
	assert_int_equal(ledger_free(&l), 0);
	assert_false(ledger_take(&l));
	assert_int_equal(ledger_tell(&l, &a, &(struct holding){1, 8, 5, 5}), 0);
	assert_false(ledger_take(&l));
	assert_int_equal(ledger_tell(&l, &a, &(struct holding){1, 8, 3, 3}), 0);
	assert_true(ledger_take(&l));
	assert_false(ledger_take(&l));
}

/* Limit */
static void ghosts_of_the_dead_count_until_they_are_gone(void **state)
{
	struct ledger l = {.limit = 4};
	struct account stopped = {.ghosts = 2}, dead = {0};

	for (int i = 0; i < 3; i++) {
		assert_true(ledger_take(&l));
		ledger_arrive(&l, &dead);
	}
	ledger_pass(&l, &dead, &stopped);
	ledger_bury(&l, &dead);
	assert_int_equal(ledger_free(&l), 2);
	assert_true(ledger_free_ghosts(&l, &stopped));
	assert_int_equal(ledger_free(&l), 4);
	assert_false(ledger_free_ghosts(&l, &stopped));
}

static void a_dead_workers_are_free_with_its_ghosts(void **state)
{
	struct ledger l = {.limit = 4};
	struct account stopped = {.ghosts = 9}, dead = {0};

	assert_int_equal(ledger_grant(&l, &dead, 3, 0), 3);
	ledger_pass(&l, &dead, &stopped);
	ledger_bury(&l, &dead);
	assert_int_equal(ledger_free(&l), 1);
	ledger_bury(&l, &stopped);
	assert_int_equal(ledger_free(&l), 4);
}

static void nobody_gets_more_than_the_cap(void **state)
{
	struct ledger l = {.limit = 100, .cap = 5};
	struct account a = {0};

	assert_int_equal(ledger_grant(&l, &a, 3, 3), 3);
	assert_int_equal(ledger_room(&l, &a), 2);
	assert_int_equal(ledger_grant(&l, &a, 3, 5), 2);
	assert_int_equal(ledger_room(&l, &a), 0);
	assert_int_equal(ledger_free(&l), 95);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_random_there_are_never_more_than_the_limit),
		cmocka_unit_test(what_is_handed_off_ends_and_is_free_again),
		cmocka_unit_test(more_than_a_worker_has_cannot_end),
		cmocka_unit_test(a_worker_lies_only_about_its_own),
		cmocka_unit_test(what_was_given_since_it_spoke_is_not_lost),
		cmocka_unit_test(a_limit_that_falls_below_what_is_in_use_waits),
		cmocka_unit_test(ghosts_of_the_dead_count_until_they_are_gone),
		cmocka_unit_test(a_dead_workers_are_free_with_its_ghosts),
		cmocka_unit_test(nobody_gets_more_than_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
