/* A listening socket that two processes sleep on: this one, and a child that is woken first.
 *
 * wrap: syscall */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"
#include "worker/wakeup.h"

/* Long enough for a wake-up that is to come; one that is not to come takes so long to show. */
#define A_WHILE_MS 300

struct pair {
	struct bound bound;
	int set;
	int clients[4];
	size_t n_clients;
	pid_t child;
	int told; /* a byte when the child begins, and for each of its wake-ups */
};

long __real_syscall(long number, ...);
long __wrap_syscall(long number, int set, int operation, int fd, struct epoll_event *event);

static bool no_room;

long __wrap_syscall(long number, int set, int operation, int fd, struct epoll_event *event)
{
	if (no_room && number == SYS_epoll_ctl && operation == EPOLL_CTL_ADD) {
		errno = ENOSPC;
		return -1;
	}
	return __real_syscall(number, set, operation, fd, event);
}

static int watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	if (set == -1 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == -1)
		abort();
	return set;
}

/* Accepts what it is woken for, or does not, and lets the other come first the next time. */
static _Noreturn void be_the_child(struct pair *p, int tell, bool accepts)
{
	struct epoll_event event;
	int set = watch(p->bound.fd);

	if (write(tell, "b", 1) != 1)
		_exit(1);
	for (;;) {
		if (epoll_wait(set, &event, 1, -1) == -1 && errno == EINTR)
			continue;
		if (write(tell, "w", 1) != 1)
			break;
		if (!accepts)
			kill(getpid(), SIGSTOP);
		close(accept(p->bound.fd, NULL, NULL));
		wakeup_requeue(p->bound.fd);
	}
	_exit(1);
}

static bool child_sleeps(void *ctx)
{
	const struct pair *p = ctx;

	return kernel_waits_for_events(p->child);
}

static void expect_child_woken(struct pair *p)
{
	char byte;

	assert_true(wait_readable(p->told, WAIT_MS));
	assert_int_equal(read(p->told, &byte, 1), 1);
	assert_true(poll_until(child_sleeps, p, WAIT_MS));
}

/* The child's entry comes first, since it is made first. */
static void start(struct pair *p, bool accepts)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;
	int ends[2];

	assert_int_equal(bind_open(&options, &p->bound, &which), 0);
	wakeup_mark(p->bound.fd);
	assert_int_equal(pipe(ends), 0);
	p->child = fork();
	if (p->child == 0)
		be_the_child(p, ends[1], accepts);
	close(ends[1]);
	p->told = ends[0];
	expect_child_woken(p);
	p->set = watch(p->bound.fd);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct pair));
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	no_room = false;
	kill(p->child, SIGKILL);
	assert_int_equal(waitpid(p->child, NULL, 0), p->child);
	wakeup_unmark(p->bound.fd);
	bound_close(&p->bound);
	close(p->set);
	close(p->told);
	for (size_t i = 0; i < p->n_clients; i++)
		close(p->clients[i]);
	free(p);
	return 0;
}

static void connect_one(struct pair *p)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &p->bound.addr.sa, p->bound.addr.len), 0);
	p->clients[p->n_clients++] = fd;
}

/* Not wait_readable(): the kernel counts who sleeps in epoll_wait(). */
static bool woken(struct pair *p, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	struct epoll_event event;
	int n;

	do
		n = epoll_wait(p->set, &event, 1, left_ms(deadline));
	while (n == -1 && errno == EINTR);
	return n == 1;
}

static bool parent_sleeps(void *ctx)
{
	return kernel_waits_for_events(*(pid_t *)ctx);
}

/* A third process connects when this one sleeps, too: who is awake is not asked by the kernel. */
static void expect_woken_from_sleep(struct pair *p)
{
	pid_t parent = getpid(), client = fork();

	if (client == 0) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		_exit(!poll_until(parent_sleeps, &parent, WAIT_MS) ||
		      connect(fd, &p->bound.addr.sa, p->bound.addr.len) == -1);
	}
	assert_true(woken(p, WAIT_MS));
	assert_int_equal(waitpid(client, NULL, 0), client);
}

/* KF-5 */
static void a_connection_wakes_one_process(void **state)
{
	struct pair *p = *state;

	start(p, true);
	connect_one(p);
	expect_child_woken(p);
	assert_false(woken(p, A_WHILE_MS));
}

/* KF-5: who has accepted goes to the end. */
static void processes_take_turns(void **state)
{
	struct pair *p = *state;

	start(p, true);
	connect_one(p);
	expect_child_woken(p);

	expect_woken_from_sleep(p);
	close(accept(p->bound.fd, NULL, NULL));
	wakeup_requeue(p->bound.fd);
	assert_false(wait_readable(p->told, 0));

	connect_one(p);
	expect_child_woken(p);
}

/* The process that was woken stops before it accepts. */
static void coming_back_to_a_queue_that_is_not_empty_wakes(void **state)
{
	struct pair *p = *state;

	start(p, false);
	connect_one(p);
	assert_true(wait_readable(p->told, WAIT_MS));
	assert_false(woken(p, A_WHILE_MS));

	wakeup_requeue(p->bound.fd);
	assert_true(woken(p, 0));
}

/* The kernel has a limit for what is watched. */
static void who_cannot_come_back_does_so_with_the_next_call(void **state)
{
	struct pair *p = *state;

	start(p, false);
	connect_one(p);
	assert_true(wait_readable(p->told, WAIT_MS));
	no_room = true;
	for (int i = 0; i < 2; i++) {
		wakeup_requeue(p->bound.fd);
		assert_false(woken(p, 0));
	}
	no_room = false;
	wakeup_requeue(p->bound.fd);
	assert_true(woken(p, 0));

	no_room = true;
	wakeup_requeue(p->bound.fd);
	wakeup_leave(p->bound.fd);
	no_room = false;
	wakeup_requeue(p->bound.fd);
	assert_false(woken(p, 0));
}

static void without_a_mark_all_are_woken(void **state)
{
	struct pair *p = *state;

	start(p, true);
	close(p->set);
	wakeup_unmark(p->bound.fd);
	p->set = watch(p->bound.fd);
	kill(p->child, SIGSTOP);
	connect_one(p);
	assert_true(woken(p, WAIT_MS));
}

/* Who does not wait is not woken in the place of who does. */
static void who_has_left_is_not_woken(void **state)
{
	struct pair *p = *state;

	start(p, true);
	wakeup_leave(p->bound.fd);
	connect_one(p);
	assert_true(wait_readable(p->told, WAIT_MS));
	assert_false(woken(p, A_WHILE_MS));

	/* Coming back after that is leaving and coming no more. */
	wakeup_leave(p->bound.fd);
	wakeup_requeue(p->bound.fd);
	connect_one(p);
	assert_false(woken(p, A_WHILE_MS));
}

static void what_is_not_marked_is_left_alone(void **state)
{
	wakeup_requeue(-1);
	wakeup_requeue(STDERR_FILENO);
	wakeup_unmark(100000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_connection_wakes_one_process),
		TEST(processes_take_turns),
		TEST(coming_back_to_a_queue_that_is_not_empty_wakes),
		TEST(who_cannot_come_back_does_so_with_the_next_call),
		TEST(without_a_mark_all_are_woken),
		TEST(who_has_left_is_not_woken),
		cmocka_unit_test(what_is_not_marked_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
