#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/fdpass.h"
#include "common/ipc/wide.h"
#include "common/macros.h"
#include "daemon/list.h"

#define LISTENERS 2

/* A child without a process: the test holds the other end of its channel. */
struct fixture {
	struct ev_loop *loop;
	struct child *child;
	int theirs;
	struct lister lister;
	int answer_status; /* of the last list_answer() */

	int results;
	struct list_page page;
	struct ipc_listed_row rows[IPC_LISTED_MAX];
};

static struct fixture *fixture;

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	fixture->answer_status = list_answer(&fixture->lister, ctx, message);
	ev_break(fixture->loop, EVBREAK_ALL);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	list_forget(&fixture->lister, ctx);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};
static const struct child_ops child_ops;

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	fixture = f;
	f->loop = ev_loop_new(EVFLAG_AUTO);
	lister_init(&f->lister, f->loop, LISTENERS);
	assert_int_equal(child_new(f->loop, 1, &child_ops, NULL, &f->child), 0);
	assert_int_equal(channel_pair(pair), 0);
	assert_int_equal(channel_open(&f->child->process.channel, f->loop, pair[0], IPC_SUPERVISOR,
				      &channel_ops, f->child),
			 0);
	f->child->id = 10;
	f->theirs = pair[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	lister_done(&f->lister);
	close_fd(f->theirs);
	child_free(f->child);
	ev_loop_destroy(f->loop);
	free(f);
	return 0;
}

static void on_page(const struct list_page *page, void *ctx)
{
	struct fixture *f = ctx;

	f->results++;
	f->page = *page;
	if (page->n_rows > 0)
		memcpy(f->rows, page->rows, page->n_rows * sizeof(*f->rows));
	ev_break(f->loop, EVBREAK_ALL);
}

static void start(struct fixture *f, uint32_t listener, uint64_t before_us)
{
	assert_int_equal(list_start(&f->lister, f->child, listener, before_us, on_page, f), 0);
	assert_int_equal(f->results, 0);
}

/* The question that reached the worker. */
static struct ipc_list question(struct fixture *f)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_message message;
	const char *why;
	size_t n_fds;
	ssize_t size = fdpass_recv(f->theirs, packet, sizeof(packet), NULL, 0, &n_fds);

	assert_true(size > 0);
	assert_int_equal(ipc_decode(IPC_SUPERVISOR, packet, (size_t)size, 0, &message, &why), 0);
	assert_int_equal(message.type, IPC_LIST);
	return *(const struct ipc_list *)message.body;
}

static struct ipc_listed_row row_of(uint32_t listener, uint64_t accepted_us)
{
	struct ipc_listed_row row = {.listener = listener, .family = AF_INET, .port = 80};

	wide_put(row.accepted_us, accepted_us);
	return row;
}

static void answer(struct fixture *f, uint32_t request, uint32_t more,
		   const struct ipc_listed_row *rows, size_t n_rows)
{
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
	struct ipc_listed body = {.request = request, .more = more};
	int size = ipc_encode(IPC_LISTED, &body, rows, n_rows, packet);
	struct iovec part = {packet, (size_t)size};

	assert_int_equal(fdpass_send(f->theirs, &part, 1, NULL, 0), size);
	ev_run(f->loop, 0);
}

static void a_page_is_what_the_worker_says(void **state)
{
	struct fixture *f = *state;
	const struct ipc_listed_row rows[] = {row_of(1, UINT64_C(0x900000001)), row_of(0, 7)};

	start(f, IPC_LISTENERS_ALL, 0);
	struct ipc_list asked = question(f);
	assert_int_equal(asked.listener, IPC_LISTENERS_ALL);
	assert_int_equal(wide_get(asked.before_us), 0);
	answer(f, asked.request, 0, rows, 2);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->page.end, LIST_ANSWERED);
	assert_int_equal(f->page.n_rows, 2);
	assert_int_equal(f->page.next_us, 0);
	assert_int_equal(wide_get(f->rows[0].accepted_us), UINT64_C(0x900000001));
}

static void the_next_page_begins_where_one_ended(void **state)
{
	struct fixture *f = *state;
	const struct ipc_listed_row rows[] = {row_of(1, UINT64_C(0x900000005)),
					      row_of(1, UINT64_C(0x900000002))};

	start(f, 1, UINT64_C(0x900000007));
	struct ipc_list asked = question(f);
	assert_int_equal(asked.listener, 1);
	assert_int_equal(wide_get(asked.before_us), UINT64_C(0x900000007));
	answer(f, asked.request, 1, rows, 2);
	assert_int_equal(f->page.next_us, UINT64_C(0x900000002));
}

static void a_worker_that_does_not_answer_makes_a_page_that_says_so(void **state)
{
	struct fixture *f = *state;

	start(f, 1, 0);
	ev_run(f->loop, 0);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->page.end, LIST_LATE);
	assert_int_equal(f->page.n_rows, 0);

	/* What it says later is for nobody. */
	struct ipc_listed_row row = row_of(1, 5);
	answer(f, question(f).request, 0, &row, 1);
	assert_int_equal(f->answer_status, 0);
	assert_int_equal(f->results, 1);
}

static void a_worker_that_ends_has_no_connections(void **state)
{
	struct fixture *f = *state;

	start(f, 1, 0);
	close_fd(take_fd(&f->theirs));
	ev_run(f->loop, 0);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->page.end, LIST_GONE);
}

static void what_is_open_at_the_end_is_answered(void **state)
{
	struct fixture *f = *state;

	start(f, 1, 0);
	lister_done(&f->lister);
	assert_int_equal(f->results, 1);
	assert_int_equal(f->page.end, LIST_LATE);
}

static void another_workers_answer_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct ipc_listed_row row = row_of(1, 5);

	start(f, 1, 0);
	f->child->id = 11;
	answer(f, question(f).request, 0, &row, 1);
	assert_int_equal(f->answer_status, 0);
	assert_int_equal(f->results, 0);
}

static void expect_refused(struct fixture *f, uint32_t more, const struct ipc_listed_row *rows,
			   size_t n_rows)
{
	start(f, 1, 100);
	answer(f, question(f).request, more, rows, n_rows);
	assert_int_equal(f->answer_status, -EPROTO);
	assert_int_equal(f->results, 0);
	lister_done(&f->lister);
	f->results = 0;
}

/* A list that a hostile worker could lengthen for ever, or that names what there is not. */
static void answers_that_cannot_be_are_refused(void **state)
{
	struct fixture *f = *state;
	static struct ipc_listed_row many[IPC_LISTED_MAX + 1];
	struct ipc_listed_row row;

	row = row_of(LISTENERS, 5);
	expect_refused(f, 0, &row, 1);
	row = row_of(0, 5); /* not the one that was asked for */
	expect_refused(f, 0, &row, 1);
	row = row_of(1, 100); /* not older than what was told */
	expect_refused(f, 0, &row, 1);
	row = row_of(1, 0);
	expect_refused(f, 0, &row, 1);
	row = row_of(1, 5);
	row.family = AF_PACKET;
	expect_refused(f, 0, &row, 1);
	row = row_of(1, 5);
	row.port = 65536;
	expect_refused(f, 0, &row, 1);
	row = row_of(1, 5);
	wide_put(row.bytes_read, UINT64_MAX);
	expect_refused(f, 0, &row, 1);
	const struct ipc_listed_row twice[] = {row_of(1, 5), row_of(1, 5)};
	expect_refused(f, 0, twice, 2);
	expect_refused(f, 1, NULL, 0); /* more, and no place to go on from */
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = row_of(1, 90 + ARRAY_LEN(many) - i);
	expect_refused(f, 0, many, ARRAY_LEN(many));
}

int main(void)
{
#define LIST_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		LIST_TEST(a_page_is_what_the_worker_says),
		LIST_TEST(the_next_page_begins_where_one_ended),
		LIST_TEST(a_worker_that_does_not_answer_makes_a_page_that_says_so),
		LIST_TEST(a_worker_that_ends_has_no_connections),
		LIST_TEST(what_is_open_at_the_end_is_answered),
		LIST_TEST(another_workers_answer_is_not_taken),
		LIST_TEST(answers_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
