#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "daemon/count.h"

#define WORKERS   3
#define LISTENERS 2

/* Children without processes: the test holds the other end of each channel. */
struct fixture {
	struct ev_loop *loop;
	struct child_list children;
	struct child *child[WORKERS];
	int theirs[WORKERS];
	struct dispatcher dispatcher;
	struct source sources[LISTENERS];
	struct counter counter;
	int answer_status; /* of the last count_answer() */

	int results;
	size_t n_rows;
	struct count_row rows[WORKERS];
	uint32_t connections[WORKERS][LISTENERS];
	uint32_t waiting[LISTENERS];
};

static struct fixture *fixture;

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	fixture->answer_status = count_answer(&fixture->counter, ctx, message);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	count_forget(&fixture->counter, ctx);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};
static const struct child_ops child_ops;

static void on_dropped(size_t count, void *ctx)
{
}

static const struct dispatch_ops dispatch_ops = {.dropped = on_dropped};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fixture = f;
	f->loop = ev_loop_new(EVFLAG_AUTO);
	TAILQ_INIT(&f->children);
	dispatch_init(&f->dispatcher, f->loop, &dispatch_ops, NULL);
	for (uint32_t i = 0; i < LISTENERS; i++)
		f->sources[i].id = i;
	counter_init(&f->counter, f->loop, &f->children, &f->dispatcher, LISTENERS);
	for (int i = 0; i < WORKERS; i++) {
		struct child *c;
		int pair[2];

		assert_int_equal(child_new(f->loop, (unsigned int)i + 1, &child_ops, NULL, &c), 0);
		for (uint32_t id = 0; id < LISTENERS; id++)
			assert_int_equal(taker_join(&c->taker, id), 0);
		assert_int_equal(channel_pair(pair), 0);
		assert_int_equal(channel_open(&c->process.channel, f->loop, pair[0], IPC_SUPERVISOR,
					      &channel_ops, c),
				 0);
		c->id = 10 + (unsigned int)i;
		c->process.pid = 1; /* only shown */
		child_set_state(c, CHILD_READY);
		f->child[i] = c;
		f->theirs[i] = pair[1];
		TAILQ_INSERT_TAIL(&f->children, c, link);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	counter_done(&f->counter);
	for (int i = 0; i < WORKERS; i++) {
		close_fd(f->theirs[i]);
		child_free(f->child[i]);
	}
	dispatch_done(&f->dispatcher);
	ev_loop_destroy(f->loop);
	free(f);
	return 0;
}

static void on_counts(const struct count_result *result, void *ctx)
{
	struct fixture *f = ctx;

	assert_true(result->n_rows <= WORKERS);
	f->results++;
	f->n_rows = result->n_rows;
	for (size_t i = 0; i < result->n_rows; i++) {
		f->rows[i] = result->rows[i];
		memcpy(f->connections[i], result->rows[i].connections, sizeof(f->connections[i]));
	}
	memcpy(f->waiting, result->waiting, sizeof(f->waiting));
	ev_break(f->loop, EVBREAK_ALL);
}

/* The request number of the question that reached a worker. */
static uint32_t question(struct fixture *f, int worker)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_message message;
	const char *why;
	size_t n_fds;
	ssize_t size = fdpass_recv(f->theirs[worker], packet, sizeof(packet), NULL, 0, &n_fds);

	assert_true(size > 0);
	assert_int_equal(ipc_decode(IPC_SUPERVISOR, packet, (size_t)size, 0, &message, &why), 0);
	assert_int_equal(message.type, IPC_COUNT);
	return ((const struct ipc_count *)message.body)->request;
}

static void answer(struct fixture *f, int worker, uint32_t request, uint32_t first, uint32_t second)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_counted body = {.request = request, .last = 1};
	struct ipc_counted_row rows[LISTENERS] = {{0, first}, {1, second}};
	int size = ipc_encode(IPC_COUNTED, &body, rows, LISTENERS, packet);
	struct iovec part = {packet, (size_t)size};

	assert_int_equal(fdpass_send(f->theirs[worker], &part, 1, NULL, 0), size);
}

static void run(struct fixture *f)
{
	ev_run(f->loop, 0);
}

/* GC-1 */
static void the_result_comes_once_and_never_inside_the_call(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	assert_int_equal(f->results, 0);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, question(f, i), 1, 2);
	run(f);
	assert_int_equal(f->results, 1);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->results, 1);
}

/* GC-2, GC-6 */
static void every_worker_has_its_row(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, question(f, i), (uint32_t)i, 100);
	run(f);
	assert_int_equal(f->n_rows, WORKERS);
	for (uint32_t i = 0; i < WORKERS; i++) {
		assert_int_equal(f->rows[i].worker, 10 + i);
		assert_int_equal(f->connections[i][0], i);
		assert_int_equal(f->connections[i][1], 100);
		assert_false(f->rows[i].stale);
	}
}

static void without_workers_the_result_is_empty(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < WORKERS; i++)
		f->child[i]->process.pid = 0;
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	assert_int_equal(f->results, 0);
	run(f);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->n_rows, 0);
}

/* GC-3, DF-4 */
static void workers_that_die_meanwhile_drop_out_of_one_result(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	answer(f, 0, question(f, 0), 7, 0);
	close_fd(take_fd(&f->theirs[1]));
	close_fd(take_fd(&f->theirs[2]));
	run(f);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->n_rows, 1);
	assert_int_equal(f->connections[0][0], 7);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->results, 1);
}

/* DF-6 */
static void a_stopped_worker_shows_its_last_figure_as_stale(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, question(f, i), 5, 0);
	run(f);

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	ev_tstamp before = ev_now(f->loop); /* from which the loop counts */
	answer(f, 0, question(f, 0), 6, 0);
	answer(f, 1, question(f, 1), 6, 0);
	run(f);
	assert_true(ev_now(f->loop) - before >= COUNT_TIMEOUT_MS / 1000.0 - 0.01);
	assert_int_equal(f->results, 2);
	assert_int_equal(f->n_rows, WORKERS);
	assert_false(f->rows[0].stale);
	assert_true(f->rows[2].stale);
	assert_int_equal(f->connections[0][0], 6);
	assert_int_equal(f->connections[2][0], 5);
}

/* GC-5 */
static void questions_at_once_do_not_mix(void **state)
{
	struct fixture *f = *state;
	uint32_t first[WORKERS], second[WORKERS];

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	for (int i = 0; i < WORKERS; i++) {
		first[i] = question(f, i);
		second[i] = question(f, i);
		assert_true(first[i] != second[i]);
	}
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, second[i], 2, 0);
	run(f);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->connections[0][0], 2);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, first[i], 1, 0);
	run(f);
	assert_int_equal(f->results, 2);
	assert_int_equal(f->connections[0][0], 1);
}

/* Of a listener that has ended in a worker there is no row, and nothing to remember. */
static void what_an_answer_leaves_out_is_none(void **state)
{
	struct fixture *f = *state;
	alignas(uint32_t) char packet[IPC_PACKET_MAX];

	taker_set_connections(&f->child[0]->taker, 1, 5);
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	struct ipc_counted body = {.request = question(f, 0), .last = 1};
	struct ipc_counted_row row = {0, 7};
	int size = ipc_encode(IPC_COUNTED, &body, &row, 1, packet);
	struct iovec part = {packet, (size_t)size};
	assert_int_equal(fdpass_send(f->theirs[0], &part, 1, NULL, 0), size);
	answer(f, 1, question(f, 1), 0, 0);
	answer(f, 2, question(f, 2), 0, 0);
	run(f);
	assert_int_equal(f->connections[0][0], 7);
	assert_int_equal(f->connections[0][1], 0);
	assert_int_equal(taker_connections(&f->child[0]->taker, 1), 0);
}

/* --- connections that no worker has yet ------------------------------------------------------ */

static struct transit *transit_of(struct fixture *f, uint32_t listener)
{
	struct transit *transit = calloc(1, sizeof(*transit));

	assert_non_null(transit);
	transit->fd = -1;
	transit->source = &f->sources[listener];
	return transit;
}

/* On its way to a worker. */
static struct transit *hand(struct fixture *f, int worker, uint32_t listener)
{
	struct transit *transit = transit_of(f, listener);

	handoff_add(&f->child[worker]->taker.handoff, transit);
	return transit;
}

/* It was refused, or waited for too long. */
static void give_back(struct fixture *f, int worker, struct transit *transit)
{
	TAILQ_REMOVE(&f->child[worker]->taker.handoff.transits, transit, link);
	TAILQ_INSERT_TAIL(&f->dispatcher.parked, transit, link);
	count_returned(&f->counter, f->child[worker], transit);
}

/* GC-6 */
static void what_waits_for_a_worker_counts_once(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		struct transit *transit = transit_of(f, 1);

		TAILQ_INSERT_TAIL(&f->dispatcher.parked, transit, link);
	}
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, question(f, i), 1, 1);
	run(f);
	assert_int_equal(f->waiting[0], 0);
	assert_int_equal(f->waiting[1], 3);
	assert_int_equal(f->connections[0][1], 1);
}

/* GC-6: the worker counts what it has been handed before it was asked, unless it gives it back:
 * then nobody else counts it. */
static void what_comes_back_before_the_answer_waits(void **state)
{
	struct fixture *f = *state;
	struct transit *first = hand(f, 0, 0), *second = hand(f, 0, 1);

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	give_back(f, 0, first);
	answer(f, 0, question(f, 0), 0, 1);
	answer(f, 1, question(f, 1), 0, 0);
	ev_run(f->loop, EVRUN_NOWAIT);
	/* After its answer: that one the worker has counted. */
	give_back(f, 0, second);
	answer(f, 2, question(f, 2), 0, 0);
	run(f);
	assert_int_equal(f->waiting[0], 1);
	assert_int_equal(f->waiting[1], 0);
	assert_int_equal(f->connections[0][1], 1);
}

/* GC-6: it waited when the question was asked, and counts there. */
static void what_was_handed_over_after_the_question_and_comes_back_counts_once(void **state)
{
	struct fixture *f = *state;
	struct transit *transit = transit_of(f, 0);

	TAILQ_INSERT_TAIL(&f->dispatcher.parked, transit, link);
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	TAILQ_REMOVE(&f->dispatcher.parked, transit, link);
	handoff_add(&f->child[0]->taker.handoff, transit);
	give_back(f, 0, transit);
	for (int i = 0; i < WORKERS; i++)
		answer(f, i, question(f, i), 0, 0);
	run(f);
	assert_int_equal(f->waiting[0], 1);
}

/* GC-6, DF-6: the row of one that does not answer has what was on its way to it when it was asked,
 * wherever that is now. */
static void what_comes_back_from_a_stopped_worker_counts_once(void **state)
{
	struct fixture *f = *state;
	struct transit *transit = hand(f, 2, 0);

	hand(f, 2, 0);
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	give_back(f, 2, transit);
	answer(f, 0, question(f, 0), 0, 0);
	answer(f, 1, question(f, 1), 0, 0);
	run(f);
	assert_true(f->rows[2].stale);
	assert_int_equal(f->connections[2][0], 2);
	assert_int_equal(f->waiting[0], 0);
}

/* GC-3, GC-6 */
static void what_a_dead_worker_has_not_taken_waits(void **state)
{
	struct fixture *f = *state;
	struct transit *transit = hand(f, 2, 0);

	hand(f, 2, 0);
	taker_set_connections(&f->child[2]->taker, 0, 100);
	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	give_back(f, 2, transit);
	count_forget(&f->counter, f->child[2]);
	answer(f, 0, question(f, 0), 0, 0);
	answer(f, 1, question(f, 1), 0, 0);
	run(f);
	assert_int_equal(f->n_rows, 2);
	assert_int_equal(f->waiting[0], 2);
}

/* What was handed to it after that is counted where it was before. */
static void what_a_dead_worker_has_answered_does_not_count(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	answer(f, 2, question(f, 2), 3, 3);
	ev_run(f->loop, EVRUN_NOWAIT);
	hand(f, 2, 0);
	count_forget(&f->counter, f->child[2]);
	answer(f, 0, question(f, 0), 0, 0);
	answer(f, 1, question(f, 1), 0, 0);
	run(f);
	assert_int_equal(f->n_rows, 2);
	assert_int_equal(f->waiting[0], 0);
}

static void a_listener_that_does_not_exist_is_refused(void **state)
{
	struct fixture *f = *state;
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_counted body = {.request = 1, .last = 1};
	struct ipc_counted_row row = {LISTENERS, 1};
	int size = ipc_encode(IPC_COUNTED, &body, &row, 1, packet);
	struct iovec part = {packet, (size_t)size};

	assert_int_equal(fdpass_send(f->theirs[0], &part, 1, NULL, 0), size);
	ev_run(f->loop, EVRUN_ONCE);
	assert_int_equal(f->answer_status, -EPROTO);
}

static void an_answer_nobody_waits_for_updates_the_last_figure(void **state)
{
	struct fixture *f = *state;

	answer(f, 0, 12345, 9, 9);
	ev_run(f->loop, EVRUN_ONCE);
	assert_int_equal(f->answer_status, 0);
	assert_int_equal(taker_connections(&f->child[0]->taker, 0), 9);
	assert_int_equal(f->results, 0);
}

static void the_end_answers_what_is_under_way(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(count_start(&f->counter, on_counts, f), 0);
	counter_done(&f->counter);
	assert_int_equal(f->results, 1);
	assert_true(f->rows[0].stale);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_result_comes_once_and_never_inside_the_call),
		TEST(every_worker_has_its_row),
		TEST(without_workers_the_result_is_empty),
		TEST(workers_that_die_meanwhile_drop_out_of_one_result),
		TEST(a_stopped_worker_shows_its_last_figure_as_stale),
		TEST(questions_at_once_do_not_mix),
		TEST(what_an_answer_leaves_out_is_none),
		TEST(what_waits_for_a_worker_counts_once),
		TEST(what_comes_back_before_the_answer_waits),
		TEST(what_was_handed_over_after_the_question_and_comes_back_counts_once),
		TEST(what_comes_back_from_a_stopped_worker_counts_once),
		TEST(what_a_dead_worker_has_not_taken_waits),
		TEST(what_a_dead_worker_has_answered_does_not_count),
		TEST(a_listener_that_does_not_exist_is_refused),
		TEST(an_answer_nobody_waits_for_updates_the_last_figure),
		TEST(the_end_answers_what_is_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
