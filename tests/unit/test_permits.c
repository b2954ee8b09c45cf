/* What a worker may accept of a listener that is metered, and what it says of it. The supervisor is
 * the test; sockets, servers and clients are real. */
#include "worker/permits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/wait.h"
#include "worker/service.h"

#define LISTENER     3
#define SERVICES_MAX 2

struct fixture {
	struct ev_loop *loop;
	struct permits_book book;
	struct permits *permits;
	struct service *services[SERVICES_MAX];
	int ports[SERVICES_MAX];
	size_t n_services;
	struct ipc_permit last;
	struct ipc_held_row row; /* the last that was told */
	size_t fds;
};

/* wrap: accept4 malloc calloc */
int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool no_descriptors;
static int until_no_memory = -1; /* so many allocations succeed, then one fails; -1: none does */

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	if (!no_descriptors)
		return __real_accept4(fd, address, size, flags);
	errno = EMFILE;
	return -1;
}

static bool has_memory(void)
{
	return until_no_memory == -1 || until_no_memory-- > 0;
}

void *__wrap_malloc(size_t size)
{
	return has_memory() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return has_memory() ? __real_calloc(count, size) : NULL;
}

static void on_idle(struct service *service, void *ctx)
{
	struct fixture *f = ctx;

	for (size_t i = 0; i < f->n_services; i++)
		if (f->services[i] == service)
			f->services[i] = NULL;
	service_free(service);
}

/* One socket more of the listener. */
static void serve(struct fixture *f)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct service_options service = {
		.listener = LISTENER,
		.handle = (uint32_t)f->n_services,
		.permits = f->permits,
		.handler = HANDLER_ECHO,
		.text = {"", 0},
	};
	struct bound bound;
	const char *which;

	assert_int_equal(bind_open(&options, &bound, &which), 0);
	f->ports[f->n_services] = addr_port(&bound.addr);
	assert_int_equal(
		service_new(f->loop, &service, bound.fd, on_idle, f, &f->services[f->n_services++]),
		0);
}

static void run_ready(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
}

/* One socket of the listener is served. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->fds = open_fd_count();
	f->loop = ev_loop_new(EVFLAG_AUTO);
	permits_init(&f->book, f->loop);
	f->permits = permits_get(&f->book, LISTENER, true);
	assert_non_null(f->permits);
	serve(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < f->n_services; i++)
		service_free(f->services[i]);
	run_ready(f);
	permits_done(&f->book);
	bool leaked = ev_run(f->loop, EVRUN_NOWAIT); /* a watcher */
	ev_loop_destroy(f->loop);
	leaked |= open_fd_count() != f->fds;
	free(f);
	return leaked ? -1 : 0;
}

/* Gives so many more, of which the worker may keep so many. */
static void grant(struct fixture *f, uint32_t count, uint32_t keep)
{
	f->last.listener = LISTENER;
	f->last.serial++;
	f->last.granted += count;
	f->last.keep = keep;
	permits_take(f->permits, &f->last);
}

/* As a turn of a worker's loop; returns whether there is something to tell. */
static bool turn(struct fixture *f)
{
	run_ready(f);
	permits_accept(&f->book);
	run_ready(f);
	return permits_settle(&f->book, &f->row, 1) == 1;
}

static void expect_told(struct fixture *f, uint32_t kept, uint32_t used)
{
	assert_true(turn(f));
	assert_int_equal(f->row.listener, LISTENER);
	assert_int_equal(f->row.serial, f->last.serial);
	assert_int_equal(f->row.granted, f->last.granted);
	assert_int_equal(f->row.kept, kept);
	assert_int_equal(f->row.used, used);
	assert_int_equal(f->row.ended, 0);
}

static void expect_silence(struct fixture *f)
{
	assert_false(turn(f));
}

/* The connection and its byte are there when the loop is run for what is ready. */
static int client_of(const struct fixture *f, size_t index)
{
	int fd = connect_tcp("127.0.0.1", f->ports[index]);

	client_send(fd, "x");
	client_await_arrival(fd);
	return fd;
}

static int client(const struct fixture *f)
{
	return client_of(f, 0);
}

static void expect_waits(struct fixture *f, int fd)
{
	run_ready(f);
	assert_false(wait_readable(fd, 0));
}

/* --- given and used -------------------------------------------------------------------------- */

static void without_a_permit_nobody_is_accepted(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int waits = client(f);
	expect_silence(f);
	expect_waits(f, waits);
}

static void as_many_are_accepted_as_there_are_permits(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	AUTO_CLOSE int two = client(f);
	AUTO_CLOSE int three = client(f);
	grant(f, 2, 2);
	expect_told(f, 2, 2);
	client_expect(one, "x");
	client_expect(two, "x");
	expect_waits(f, three);

	grant(f, 1, 3);
	expect_told(f, 3, 3);
	client_expect(three, "x");
}

/* Nobody has to be asked for those that come later. */
static void what_may_be_kept_is_for_those_who_come(void **state)
{
	struct fixture *f = *state;

	grant(f, 3, 3);
	expect_told(f, 3, 0);
	AUTO_CLOSE int one = client(f);
	expect_silence(f);
	client_expect(one, "x");

	/* And for those who come when somebody has gone. */
	grant(f, 0, 3);
	expect_told(f, 3, 1);
	client_hang_up(take_fd(&one));
	AUTO_CLOSE int two = client(f);
	AUTO_CLOSE int three = client(f);
	AUTO_CLOSE int four = client(f);
	AUTO_CLOSE int five = client(f);
	expect_told(f, 3, 3);
	client_expect(four, "x");
	expect_waits(f, five);
}

static void two_sockets_share_the_permits_of_their_listener(void **state)
{
	struct fixture *f = *state;

	serve(f);
	AUTO_CLOSE int one = client_of(f, 0);
	AUTO_CLOSE int other = client_of(f, 1);
	grant(f, 1, 1);
	expect_told(f, 1, 1);
	while (!wait_readable(one, 1) && !wait_readable(other, 1))
		;
	assert_true(wait_readable(one, 0) != wait_readable(other, 0));
	grant(f, 1, 2);
	expect_told(f, 2, 2);
	client_expect(one, "x");
	client_expect(other, "x");
}

/* --- given back ------------------------------------------------------------------------------ */

static void what_is_not_needed_and_may_not_be_kept_goes_back(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	grant(f, 5, 0);
	expect_told(f, 1, 1);
	client_expect(one, "x");
	AUTO_CLOSE int two = client(f);
	expect_silence(f);
	expect_waits(f, two);

	/* Nor is the permit of one that has ended for the next one. */
	client_hang_up(take_fd(&one));
	expect_told(f, 0, 0);
	expect_waits(f, two);
}

static void a_recall_leaves_what_is_in_use(void **state)
{
	struct fixture *f = *state;

	grant(f, 4, 4);
	AUTO_CLOSE int one = client(f);
	expect_told(f, 4, 1);
	grant(f, 0, 0);
	expect_told(f, 1, 1);
	client_expect(one, "x");
	AUTO_CLOSE int two = client(f);
	expect_silence(f);
	expect_waits(f, two);
}

static void each_message_is_answered_once_even_if_it_changes_nothing(void **state)
{
	struct fixture *f = *state;

	grant(f, 0, 0);
	expect_told(f, 0, 0);
	expect_silence(f);
	grant(f, 0, 7);
	expect_told(f, 0, 0);
	expect_silence(f);
}

/* Two messages that come in one turn have one answer, to the second. */
static void the_last_message_is_the_one_that_counts(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	grant(f, 3, 3);
	grant(f, 2, 0);
	expect_told(f, 1, 1);
	expect_silence(f);
}

/* All that a limit of that size can mean. */
static void amounts_may_be_huge_and_wrap_around(void **state)
{
	struct fixture *f = *state;

	grant(f, UINT32_MAX, UINT32_MAX);
	AUTO_CLOSE int one = client(f);
	expect_told(f, UINT32_MAX, 1);
	grant(f, 0, 0);
	expect_told(f, 1, 1);
	f->last.serial = UINT32_MAX;
	grant(f, 3, 3);
	assert_int_equal(f->last.granted, 2);
	expect_told(f, 3, 1);

	AUTO_CLOSE int two = client(f);
	AUTO_CLOSE int three = client(f);
	AUTO_CLOSE int four = client(f);
	AUTO_CLOSE int five = client(f);
	expect_told(f, 3, 3);
	client_expect(three, "x");
	expect_waits(f, four);
}

/* --- told ------------------------------------------------------------------------------------ */

static void running_out_is_told_once(void **state)
{
	struct fixture *f = *state;

	grant(f, 2, 2);
	expect_told(f, 2, 0);
	AUTO_CLOSE int one = client(f);
	expect_silence(f);
	AUTO_CLOSE int two = client(f);
	expect_told(f, 2, 2);
	AUTO_CLOSE int three = client(f);
	expect_silence(f);

	/* There is one free, and the next has taken it before anybody could be told. */
	client_hang_up(take_fd(&one));
	expect_silence(f);
	client_expect(three, "x");

	/* The supervisor has nothing to give: it hears that there is still need. */
	grant(f, 0, 2);
	expect_told(f, 2, 2);
	expect_silence(f);
}

/* Else the figure that people see would be as old as the last message. */
static void a_number_that_has_changed_is_told_in_the_end(void **state)
{
	struct fixture *f = *state;

	grant(f, 9, 9);
	expect_told(f, 9, 0);
	AUTO_CLOSE int one = client(f);
	expect_silence(f);
	while (!f->book.due)
		ev_run(f->loop, EVRUN_ONCE);
	expect_told(f, 9, 1);
	AUTO_CLOSE int two = client(f);
	expect_silence(f);
	assert_true(ev_is_active(&f->book.figures));
}

static void what_does_not_fit_into_one_message_is_told_in_the_next(void **state)
{
	struct fixture *f = *state;
	const struct ipc_permit other = {.listener = LISTENER + 1, .serial = 1};
	struct permits *permits = permits_get(&f->book, LISTENER + 1, true);

	assert_ptr_equal(permits_get(&f->book, LISTENER + 1, true), permits);
	assert_ptr_equal(permits_get(&f->book, LISTENER, true), f->permits);
	permits_take(permits, &other);
	grant(f, 1, 1);
	assert_true(turn(f));
	uint32_t first = f->row.listener;
	assert_true(turn(f));
	assert_int_not_equal(f->row.listener, first);
	expect_silence(f);
}

/* Who would be given another one cannot take it. */
static void without_descriptors_the_answer_waits(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	run_ready(f);
	grant(f, 1, 0);
	no_descriptors = true;
	permits_accept(&f->book);
	no_descriptors = false;
	assert_true(server_is_short(f->services[0]->server));
	assert_int_equal(permits_settle(&f->book, &f->row, 1), 0);
	while (server_is_short(f->services[0]->server))
		ev_run(f->loop, EVRUN_ONCE);
	expect_told(f, 1, 1);
	client_expect(one, "x");
}

/* --- services that go ------------------------------------------------------------------------ */

static void what_comes_for_a_service_that_has_stopped_goes_back(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	grant(f, 3, 3);
	service_stop(f->services[0], false);
	expect_told(f, 0, 0);
	client_expect_end(one);
}

static void a_service_that_has_stopped_keeps_what_it_uses(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	AUTO_CLOSE int two = client(f);
	grant(f, 5, 5);
	expect_told(f, 5, 2);
	service_stop(f->services[0], false);
	expect_told(f, 2, 2);
	expect_silence(f);
	grant(f, 2, 4);
	expect_told(f, 2, 2);
	client_hang_up(take_fd(&one));
	expect_told(f, 1, 1);

	/* The last one takes the service with it. */
	client_hang_up(take_fd(&two));
	expect_told(f, 0, 0);
	assert_null(f->services[0]);
	expect_silence(f);
}

/* The socket has come again while connections of the first time are there. */
static void the_connections_of_a_former_service_count(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int former = client(f);
	grant(f, 2, 2);
	expect_told(f, 2, 1);
	service_stop(f->services[0], false);
	serve(f);
	expect_silence(f);
	AUTO_CLOSE int one = client_of(f, 1);
	AUTO_CLOSE int two = client_of(f, 1);
	expect_told(f, 2, 2);
	client_expect(one, "x");
	expect_waits(f, two);
	client_hang_up(take_fd(&former));
	expect_silence(f);
	client_expect(two, "x");
}

/* What waits already is accepted as far as the permits go, and the rest is for others. */
static void an_emptied_queue_respects_the_permits(void **state)
{
	struct fixture *f = *state;

	AUTO_CLOSE int one = client(f);
	AUTO_CLOSE int two = client(f);
	grant(f, 1, 1);
	service_stop(f->services[0], true);
	expect_told(f, 1, 1);
	client_expect(one, "x");
	client_expect_end(two);
}

/* --- connections that come accepted ---------------------------------------------------------- */

static int adopt(struct net_server *server)
{
	const struct addr nobody = {.len = 0};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			 0);
	assert_int_equal(server_adopt(server, pair[0], &nobody), 0);
	return pair[1];
}

/* They bring their permits along: what is told is only how many have ended. */
static void those_that_came_accepted_are_told_when_they_have_ended(void **state)
{
	struct fixture *f = *state;
	struct service **accepted = &f->services[f->n_services++];
	const uint32_t listener = LISTENER + 1;
	const struct service_options options = {
		.listener = listener,
		.permits = permits_get(&f->book, listener, false),
		.handler = HANDLER_ECHO,
		.text = {"", 0},
	};

	assert_int_equal(service_new(f->loop, &options, -1, on_idle, f, accepted), 0);
	permits_note_taken(&f->book, listener + 1);
	AUTO_CLOSE int one = adopt((*accepted)->server);
	AUTO_CLOSE int two = adopt((*accepted)->server);
	permits_note_taken(&f->book, listener);
	permits_note_taken(&f->book, listener);
	expect_silence(f);

	close_fd(take_fd(&one));
	assert_true(turn(f));
	assert_int_equal(f->row.listener, listener);
	assert_int_equal(f->row.ended, 1);
	assert_int_equal(f->row.kept, 0);
	assert_int_equal(f->row.used, 0);
	expect_silence(f);

	/* One that was lost on its way has ended, too; and the others, wherever their server is. */
	permits_note_taken(&f->book, listener);
	service_stop(*accepted, false);
	assert_true(turn(f));
	assert_int_equal(f->row.ended, 2);
	close_fd(take_fd(&two));
	assert_true(turn(f));
	assert_int_equal(f->row.ended, 3);
	assert_null(*accepted);
	expect_silence(f);
}

/* Whatever it lacks memory for: what there is of it goes, and the permits are those of the others.
 */
static void without_memory_a_service_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;
	const struct service_options options = {
		.listener = LISTENER,
		.handle = 1,
		.permits = f->permits,
		.handler = HANDLER_ECHO,
		.text = {"", 0},
	};
	struct service *service = NULL;
	int error = -ENOMEM, allocations;

	for (allocations = 0; error == -ENOMEM; allocations++) {
		assert_ptr_equal(LIST_FIRST(&f->permits->services), f->services[0]);
		assert_null(LIST_NEXT(f->services[0], of_permits));
		until_no_memory = allocations;
		error = service_new(f->loop, &options, -1, on_idle, f, &service);
		until_no_memory = -1;
	}
	assert_int_equal(error, 0);
	assert_true(allocations > 3); /* at least itself, its text and its server */
	assert_ptr_equal(LIST_FIRST(&f->permits->services), service);
	service_free(service);
	assert_ptr_equal(LIST_FIRST(&f->permits->services), f->services[0]);
}

static void what_was_to_be_told_dies_with_the_book(void **state)
{
	struct fixture *f = *state;

	grant(f, 9, 9);
	expect_told(f, 9, 0);
	AUTO_CLOSE int one = client(f);
	expect_silence(f);
	assert_true(ev_is_active(&f->book.figures));
	client_expect(one, "x");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_permit_nobody_is_accepted),
		TEST(as_many_are_accepted_as_there_are_permits),
		TEST(what_may_be_kept_is_for_those_who_come),
		TEST(two_sockets_share_the_permits_of_their_listener),
		TEST(what_is_not_needed_and_may_not_be_kept_goes_back),
		TEST(a_recall_leaves_what_is_in_use),
		TEST(each_message_is_answered_once_even_if_it_changes_nothing),
		TEST(the_last_message_is_the_one_that_counts),
		TEST(amounts_may_be_huge_and_wrap_around),
		TEST(running_out_is_told_once),
		TEST(a_number_that_has_changed_is_told_in_the_end),
		TEST(what_does_not_fit_into_one_message_is_told_in_the_next),
		TEST(without_descriptors_the_answer_waits),
		TEST(what_comes_for_a_service_that_has_stopped_goes_back),
		TEST(a_service_that_has_stopped_keeps_what_it_uses),
		TEST(the_connections_of_a_former_service_count),
		TEST(an_emptied_queue_respects_the_permits),
		TEST(those_that_came_accepted_are_told_when_they_have_ended),
		TEST(without_memory_a_service_leaves_nothing_behind),
		TEST(what_was_to_be_told_dies_with_the_book),
	};

	alarm(60);
	return cmocka_run_group_tests_name("permits", tests, NULL, NULL);
}
