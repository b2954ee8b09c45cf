/* Real sockets on loopback. An address is dead when a socket is bound there that does not listen,
 * and silent when its listener's queue is full: the kernel then drops what asks to connect.
 *
 * wrap: socket calloc */
#include "common/net/attempts.h"
#include "common/net/bind.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/watches.h"

#define WATCHDOG_S 60
#define FAR_MS     (3600 * 1000) /* a delay that no test lives to see */
#define NEAR_MS    20
#define SERVERS    4

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static int socket_error; /* what socket(2) fails with */
static int last_socket;
static int calloc_budget = -1; /* calls that succeed; -1: all */

int __wrap_socket(int family, int type, int protocol)
{
	if (socket_error) {
		errno = socket_error;
		return -1;
	}
	last_socket = __real_socket(family, type, protocol);
	return last_socket;
}

void *__wrap_calloc(size_t count, size_t size)
{
	if (calloc_budget == 0)
		return NULL;
	if (calloc_budget > 0)
		calloc_budget--;
	return __real_calloc(count, size);
}

struct fixture {
	struct ev_loop *loop;
	struct attempts *attempts;
	int fds_before;
	int servers[SERVERS];
	size_t server_count;
	char log[4096]; /* "+" attempt, "-" failure with syscall and errno */
	unsigned done_calls;
	int status;
	int fd;
	struct addr winner;
	struct attempts_failure failures[ATTEMPTS_MAX];
	size_t failure_count;
	char cancel_at; /* in which op: '+', '-', '=' */
	int accept_at;  /* a listener that on_attempt makes room in, at the second attempt */
	unsigned attempt_calls;
};

static int open_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(WATCHDOG_S);
	socket_error = 0;
	calloc_budget = -1;
	watches_refused = false;
	f->loop = ev_loop_new(EVFLAG_AUTO);
	ev_run(f->loop, EVRUN_NOWAIT); /* opens what it opens */
	f->fds_before = open_fd_count();
	f->fd = -1;
	f->accept_at = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close_fd(f->fd);
	for (size_t i = 0; i < f->server_count; i++)
		close_fd(f->servers[i]);
	int leaked = open_fd_count() - f->fds_before;
	ev_loop_destroy(f->loop);
	free(f);
	alarm(0);
	return leaked;
}

static void note(struct fixture *f, const char *format, ...) PRINTF_LIKE(2, 3);
static void note(struct fixture *f, const char *format, ...)
{
	size_t used = strlen(f->log);
	va_list args;

	va_start(args, format);
	vsnprintf(f->log + used, sizeof(f->log) - used, format, args);
	va_end(args);
}

static void cancel_if(struct fixture *f, char op)
{
	if (f->cancel_at == op)
		attempts_cancel(f->attempts);
}

static void on_attempt(const struct addr *addr, void *ctx)
{
	struct fixture *f = ctx;
	char text[ADDR_TEXT_SIZE];

	addr_format(addr, text, sizeof(text));
	note(f, "+%s ", text);
	if (++f->attempt_calls == 2 && f->accept_at != -1)
		close(accept(f->accept_at, NULL, NULL));
	cancel_if(f, '+');
}

static void on_attempt_failed(const struct attempts_failure *failure, void *ctx)
{
	struct fixture *f = ctx;
	char text[ADDR_TEXT_SIZE];

	addr_format(&failure->addr, text, sizeof(text));
	note(f, "-%s ", text);
	cancel_if(f, '-');
}

static void on_done(const struct attempts_result *result, void *ctx)
{
	struct fixture *f = ctx;

	f->done_calls++;
	f->status = result->status;
	f->fd = result->fd;
	if (result->winner)
		f->winner = *result->winner;
	f->failure_count = result->failure_count;
	memcpy(f->failures, result->failures, f->failure_count * sizeof(f->failures[0]));
	cancel_if(f, '=');
}

static const struct attempts_ops ops = {
	.on_attempt = on_attempt,
	.on_attempt_failed = on_attempt_failed,
	.on_done = on_done,
};

static struct addr address(const char *host, int port)
{
	struct addr addr;

	assert_int_equal(addr_parse(host, (uint16_t)port, &addr), 0);
	return addr;
}

/* One besides 127.0.0.1: of the other family, on a machine that has it. */
static const char *other_host(void)
{
	struct addr addr = address("::1", 0);
	AUTO_CLOSE int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return bind(fd, &addr.sa, addr.len) == 0 ? "::1" : "127.0.0.2";
}

/* A socket bound to a free port of the host, and its address. */
static int bound(struct fixture *f, const char *host, struct addr *ret)
{
	struct addr addr = address(host, 0);
	int fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(f->server_count < SERVERS);
	assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
	assert_int_equal(addr_of_socket(fd, ret), 0);
	f->servers[f->server_count++] = fd;
	return fd;
}

static struct addr dead(struct fixture *f, const char *host)
{
	struct addr addr;

	bound(f, host, &addr);
	return addr;
}

static struct addr live(struct fixture *f, const char *host)
{
	struct addr addr;

	assert_int_equal(listen(bound(f, host, &addr), 8), 0);
	return addr;
}

/* A queue of 0 takes one connection, and that one is the client's here. */
static struct addr silent(struct fixture *f, const char *host, int *ret_listener)
{
	struct addr addr;
	int listener = bound(f, host, &addr);
	int client = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(connect(client, &addr.sa, addr.len), 0);
	kernel_await_queue(listener, 1);
	assert_true(f->server_count < SERVERS);
	f->servers[f->server_count++] = client;
	if (ret_listener)
		*ret_listener = listener;
	return addr;
}

static void start(struct fixture *f, const struct attempts_request *request)
{
	assert_int_equal(attempts_start(f->loop, request, &ops, f, &f->attempts), 0);
	assert_string_equal(f->log, ""); /* CB-1 */
	assert_int_equal(f->done_calls, 0);
}

static void run(struct fixture *f, const struct addr *addresses, size_t count, unsigned delay_ms)
{
	struct attempts_request request = {
		.addresses = addresses, .count = count, .delay_ms = delay_ms};

	start(f, &request);
	ev_run(f->loop, 0);
}

static void assert_won(const struct fixture *f, const struct addr *addr)
{
	struct addr peer;

	assert_int_equal(f->done_calls, 1);
	assert_int_equal(f->status, 0);
	assert_true(addr_equal(&f->winner, addr));
	assert_int_equal(addr_of_peer(f->fd, &peer), 0);
	assert_true(addr_equal(&peer, addr));
}

/* Only the servers' and the winner's descriptors are open. */
static void assert_nothing_else_open(const struct fixture *f)
{
	assert_int_equal(open_fd_count(), f->fds_before + (int)f->server_count + (f->fd != -1));
}

static void live_address_is_connected_non_blocking_and_close_on_exec(void **state)
{
	struct fixture *f = *state;
	struct addr addr = live(f, "127.0.0.1");

	run(f, &addr, 1, 0);
	assert_won(f, &addr);
	assert_int_equal(f->failure_count, 0);
	assert_true(fcntl(f->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(f->fd, F_GETFD) & FD_CLOEXEC);
}

/* CN-11 */
static void refused_address_gives_way_at_once(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {dead(f, other_host()), dead(f, "127.0.0.1"), live(f, "127.0.0.1")};

	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_won(f, &addrs[2]);
	assert_int_equal(f->failure_count, 2);
	assert_int_equal(f->failures[0].error, -ECONNREFUSED);
	assert_nothing_else_open(f);
}

/* CN-11 */
static void silent_address_is_passed_over_after_the_delay_and_closed(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {silent(f, other_host(), NULL), live(f, "127.0.0.1")};

	run(f, addrs, ARRAY_LEN(addrs), NEAR_MS);
	assert_won(f, &addrs[1]);
	assert_int_equal(f->failure_count, 0);
	assert_nothing_else_open(f);
}

static void note_time(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct fixture *f = timer->data;

	note(f, "early ");
}

/* CN-11: the second is not tried before the delay of 250 ms. */
static void default_delay_is_a_quarter_of_a_second(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {silent(f, other_host(), NULL), live(f, "127.0.0.1")};
	char first[ADDR_TEXT_SIZE], second[ADDR_TEXT_SIZE], expected[256];
	ev_timer early;

	ev_timer_init(&early, note_time, 0.2, 0.);
	early.data = f;
	ev_timer_start(f->loop, &early);
	run(f, addrs, ARRAY_LEN(addrs), 0);

	addr_format(&addrs[0], first, sizeof(first));
	addr_format(&addrs[1], second, sizeof(second));
	snprintf(expected, sizeof(expected), "+%s early +%s ", first, second);
	assert_string_equal(f->log, expected);
}

/* CN-11: attempts go on side by side. When the first listener gets room, which is after the second
 * attempt has begun, the kernel's repeated SYN connects the first. */
static void address_that_was_passed_over_may_still_win(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[2];

	addrs[0] = silent(f, "127.0.0.1", &f->accept_at);
	addrs[1] = silent(f, "127.0.0.1", NULL);
	run(f, addrs, ARRAY_LEN(addrs), NEAR_MS);
	assert_won(f, &addrs[0]);
	assert_nothing_else_open(f);
}

static void false_alarm_is_no_connection(void **state)
{
	struct fixture *f = *state;
	struct addr addr = silent(f, "127.0.0.1", NULL);
	struct attempts_request request = {.addresses = &addr, .count = 1};

	start(f, &request);
	while (f->attempt_calls == 0)
		ev_run(f->loop, EVRUN_ONCE);
	ev_feed_fd_event(f->loop, last_socket, EV_WRITE);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->done_calls, 0);
	attempts_cancel(f->attempts);
}

/* What is called off while it is in progress fails with an error of the kernel, see connect(2). */
static void fail_the_first(struct ev_loop *loop, ev_timer *timer, int events)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	assert_int_equal(connect(last_socket, &nobody, sizeof(nobody)), 0);
	ev_feed_fd_event(loop, last_socket, EV_WRITE);
	ev_invoke_pending(loop);
}

/* CN-11: the delay counts from the last attempt. The first one fails halfway, and so the third
 * starts behind a timer that is set for a little more than one delay after the first: the loop
 * keeps timers in order, however late it is. */
static void failure_starts_the_delay_anew(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[3];
	struct attempts_request request = {.addresses = addrs, .count = 3, .delay_ms = 200};
	char texts[3][ADDR_TEXT_SIZE], expected[512];
	ev_timer fail, early;

	addrs[0] = silent(f, "127.0.0.1", NULL);
	addrs[1] = silent(f, "127.0.0.1", NULL);
	addrs[2] = address("127.0.0.1", 1);
	start(f, &request);
	while (f->attempt_calls < 1)
		ev_run(f->loop, EVRUN_ONCE);

	ev_timer_init(&fail, fail_the_first, 0.1, 0.);
	ev_timer_start(f->loop, &fail);
	ev_timer_init(&early, note_time, 0.25, 0.);
	early.data = f;
	ev_timer_start(f->loop, &early);
	while (f->attempt_calls < 3)
		ev_run(f->loop, EVRUN_ONCE);

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++)
		addr_format(&addrs[i], texts[i], sizeof(texts[i]));
	snprintf(expected, sizeof(expected), "+%s -%s +%s early +%s ", texts[0], texts[0], texts[1],
		 texts[2]);
	assert_memory_equal(f->log, expected, strlen(expected));
	attempts_cancel(f->attempts);
}

/* CN-11 */
static void families_take_turns_and_duplicates_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {
		address("::1", 1),       address("::1", 2),       address("::1", 1),
		address("::1", 3),       address("127.0.0.1", 1), address("127.0.0.1", 1),
		address("127.0.0.1", 2),
	};

	socket_error = EAFNOSUPPORT;
	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_string_equal(f->log, "+[::1]:1 -[::1]:1 +127.0.0.1:1 -127.0.0.1:1 "
				    "+[::1]:2 -[::1]:2 +127.0.0.1:2 -127.0.0.1:2 "
				    "+[::1]:3 -[::1]:3 ");
}

/* CN-11 */
static void first_family_is_that_of_the_first_address(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {address("127.0.0.1", 1), address("127.0.0.1", 2), address("::1", 1)};

	socket_error = EAFNOSUPPORT;
	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_string_equal(f->log, "+127.0.0.1:1 -127.0.0.1:1 +[::1]:1 -[::1]:1 "
				    "+127.0.0.1:2 -127.0.0.1:2 ");
}

/* CN-11 */
static void when_all_fail_the_result_lists_each(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {dead(f, other_host()), dead(f, "127.0.0.1"), dead(f, "127.0.0.1")};

	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_int_equal(f->done_calls, 1);
	assert_int_equal(f->status, NET_ERR_ALL_FAILED);
	assert_int_equal(f->fd, -1);
	assert_int_equal(f->failure_count, 3);
	for (size_t i = 0; i < f->failure_count; i++) {
		assert_true(addr_equal(&f->failures[i].addr, &addrs[i]));
		assert_int_equal(f->failures[i].error, -ECONNREFUSED);
		assert_string_equal(f->failures[i].syscall, "connect");
	}
	assert_nothing_else_open(f);
}

/* CN-6, CN-11: a single address is the plain case. */
static void single_address_fails_with_its_own_error(void **state)
{
	struct fixture *f = *state;
	struct addr addr = address("127.0.0.1", 0);

	run(f, &addr, 1, 0);
	assert_int_equal(f->done_calls, 1);
	assert_int_equal(f->status, -ECONNREFUSED);
	assert_int_equal(f->failure_count, 1);
}

static void address_that_cannot_be_watched_fails(void **state)
{
	struct fixture *f = *state;
	struct addr addr = silent(f, "127.0.0.1", NULL);

	watches_refused = true;
	run(f, &addr, 1, 0);
	assert_int_equal(f->done_calls, 1);
	assert_int_equal(f->status, -ENOMEM);
	assert_nothing_else_open(f);
}

static void no_more_than_the_bound_are_tried(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[ATTEMPTS_MAX + 36];

	for (size_t i = 0; i < ARRAY_LEN(addrs); i++)
		addrs[i] = address("127.0.0.1", (int)i + 1);
	socket_error = EMFILE;
	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_int_equal(f->attempt_calls, ATTEMPTS_MAX);
	assert_int_equal(f->failure_count, ATTEMPTS_MAX);
	assert_int_equal(f->failures[ATTEMPTS_MAX - 1].error, -EMFILE);
	assert_string_equal(f->failures[0].syscall, "socket");
}

/* CN-5 */
static void local_address_and_port_are_bound(void **state)
{
	struct fixture *f = *state;
	struct addr remote = live(f, "127.0.0.1"), free_port = dead(f, "127.0.0.2");
	struct addr local = address("127.0.0.2", 9), ours;
	struct attempts_request request = {.addresses = &remote, .count = 1, .local = &local};

	request.local_port = addr_port(&free_port);
	close_fd(f->servers[--f->server_count]);
	start(f, &request);
	ev_run(f->loop, 0);
	assert_won(f, &remote);
	assert_int_equal(addr_of_socket(f->fd, &ours), 0);
	assert_true(addr_equal(&ours, &free_port));
}

/* CN-5 */
static void local_address_without_port_gets_any_port(void **state)
{
	struct fixture *f = *state;
	struct addr remote = live(f, "127.0.0.1"), local = address("127.0.0.3", 0), ours;
	struct attempts_request request = {.addresses = &remote, .count = 1, .local = &local};

	start(f, &request);
	ev_run(f->loop, 0);
	assert_won(f, &remote);
	assert_int_equal(addr_of_socket(f->fd, &ours), 0);
	assert_int_equal(ours.in.sin_addr.s_addr, local.in.sin_addr.s_addr);
	assert_int_not_equal(addr_port(&ours), 0);
}

/* A port that no address uses. Those that the kernel gives out, from 32768 on, may all have been
 * used a moment ago by a program that connects a lot. */
static uint16_t unused_port(void)
{
	struct bind_options options = {.has_port = true, .port = 20000};
	const char *which;
	struct bound bound;

	while (bind_open(&options, &bound, &which) < 0)
		assert_true(++options.port < 32768);
	bound_close(&bound);
	return options.port;
}

/* CN-5 */
static void local_port_alone_is_bound_for_either_family(void **state)
{
	struct fixture *f = *state;
	struct addr remote = live(f, other_host()), ours;
	struct attempts_request request = {.addresses = &remote, .count = 1};

	request.local_port = unused_port();
	start(f, &request);
	ev_run(f->loop, 0);
	assert_won(f, &remote);
	assert_int_equal(addr_of_socket(f->fd, &ours), 0);
	assert_int_equal(addr_port(&ours), request.local_port);
}

/* CN-5 */
static void local_address_of_another_machine_is_a_bind_error(void **state)
{
	struct fixture *f = *state;
	struct addr remote = live(f, "127.0.0.1"), local = address("192.0.2.1", 0);
	struct attempts_request request = {.addresses = &remote, .count = 1, .local = &local};

	start(f, &request);
	ev_run(f->loop, 0);
	assert_int_equal(f->status, -EADDRNOTAVAIL);
	assert_string_equal(f->failures[0].syscall, "bind");
	assert_nothing_else_open(f);
}

/* CN-3, CN-7: destroyed in the same turn, nothing was connected and nothing is told. */
static void cancelled_at_once_nothing_happens(void **state)
{
	struct fixture *f = *state;
	struct addr addr = live(f, "127.0.0.1");
	struct attempts_request request = {.addresses = &addr, .count = 1};

	start(f, &request);
	attempts_cancel(f->attempts);
	assert_false(ev_run(f->loop, 0));
	assert_string_equal(f->log, "");
	assert_int_equal(f->done_calls, 0);
}

/* CN-7 */
static void cancelled_while_connecting_all_is_closed(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {silent(f, other_host(), NULL), silent(f, "127.0.0.1", NULL)};
	struct attempts_request request = {
		.addresses = addrs, .count = ARRAY_LEN(addrs), .delay_ms = NEAR_MS};

	start(f, &request);
	while (f->attempt_calls < 2)
		ev_run(f->loop, EVRUN_ONCE);
	attempts_cancel(f->attempts);
	assert_nothing_else_open(f);
	assert_false(ev_run(f->loop, 0));
	assert_int_equal(f->done_calls, 0);
}

static void assert_cancelled_in(struct fixture *f, char op, unsigned attempts)
{
	struct addr addrs[] = {dead(f, other_host()), live(f, "127.0.0.1")};

	f->cancel_at = op;
	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_int_equal(f->attempt_calls, attempts);
	assert_int_equal(f->done_calls, 0);
	assert_nothing_else_open(f);
}

/* CB-3 */
static void may_be_cancelled_in_on_attempt(void **state)
{
	assert_cancelled_in(*state, '+', 1);
}

/* CB-3 */
static void may_be_cancelled_in_on_attempt_failed(void **state)
{
	assert_cancelled_in(*state, '-', 1);
}

/* CB-3 */
static void may_be_cancelled_when_the_call_itself_failed(void **state)
{
	struct fixture *f = *state;
	struct addr addrs[] = {address("127.0.0.1", 1), address("127.0.0.1", 2)};

	socket_error = EMFILE;
	f->cancel_at = '-';
	run(f, addrs, ARRAY_LEN(addrs), FAR_MS);
	assert_int_equal(f->attempt_calls, 1);
	assert_int_equal(f->done_calls, 0);
}

/* CB-3 */
static void may_be_cancelled_in_the_last_failure(void **state)
{
	struct fixture *f = *state;
	struct addr addr = dead(f, "127.0.0.1");

	f->cancel_at = '-';
	run(f, &addr, 1, 0);
	assert_int_equal(f->attempt_calls, 1);
	assert_int_equal(f->done_calls, 0);
}

/* CB-3 */
static void cancel_in_on_done_leaves_the_descriptor(void **state)
{
	struct fixture *f = *state;
	struct addr addr = live(f, "127.0.0.1");

	f->cancel_at = '=';
	run(f, &addr, 1, 0);
	assert_won(f, &addr);
}

static void cancel_takes_null(void **state)
{
	attempts_cancel(NULL);
}

static void ops_but_the_last_may_be_null(void **state)
{
	static const struct attempts_ops only_done = {.on_done = on_done};
	struct fixture *f = *state;
	struct addr addrs[] = {dead(f, other_host()), live(f, "127.0.0.1")};
	struct attempts_request request = {.addresses = addrs, .count = ARRAY_LEN(addrs)};

	assert_int_equal(attempts_start(f->loop, &request, &only_done, f, &f->attempts), 0);
	ev_run(f->loop, 0);
	assert_won(f, &addrs[1]);
}

static void wrong_requests_are_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct addr addr;
	struct attempts_request none = {.addresses = &addr, .count = 0};
	struct attempts_request local = {.addresses = &addr, .count = 1};

	assert_int_equal(attempts_start(f->loop, &none, &ops, f, &f->attempts), -EINVAL);
	assert_int_equal(addr_unix("/run/x.sock", &addr), 0);
	assert_int_equal(attempts_start(f->loop, &local, &ops, f, &f->attempts), -EINVAL);
	assert_null(f->attempts);
}

static void without_memory_nothing_is_pending(void **state)
{
	struct fixture *f = *state;
	struct addr addr = live(f, "127.0.0.1");
	struct attempts_request request = {.addresses = &addr, .count = 1};

	for (int budget = 0; budget < 2; budget++) {
		calloc_budget = budget;
		assert_int_equal(attempts_start(f->loop, &request, &ops, f, &f->attempts), -ENOMEM);
	}
	calloc_budget = -1;
	assert_null(f->attempts);
	assert_false(ev_run(f->loop, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(live_address_is_connected_non_blocking_and_close_on_exec),
		TEST(refused_address_gives_way_at_once),
		TEST(silent_address_is_passed_over_after_the_delay_and_closed),
		TEST(default_delay_is_a_quarter_of_a_second),
		TEST(address_that_was_passed_over_may_still_win),
		TEST(false_alarm_is_no_connection),
		TEST(failure_starts_the_delay_anew),
		TEST(families_take_turns_and_duplicates_are_left_out),
		TEST(first_family_is_that_of_the_first_address),
		TEST(when_all_fail_the_result_lists_each),
		TEST(single_address_fails_with_its_own_error),
		TEST(address_that_cannot_be_watched_fails),
		TEST(no_more_than_the_bound_are_tried),
		TEST(local_address_and_port_are_bound),
		TEST(local_address_without_port_gets_any_port),
		TEST(local_port_alone_is_bound_for_either_family),
		TEST(local_address_of_another_machine_is_a_bind_error),
		TEST(cancelled_at_once_nothing_happens),
		TEST(cancelled_while_connecting_all_is_closed),
		TEST(may_be_cancelled_in_on_attempt),
		TEST(may_be_cancelled_in_on_attempt_failed),
		TEST(may_be_cancelled_when_the_call_itself_failed),
		TEST(may_be_cancelled_in_the_last_failure),
		TEST(cancel_in_on_done_leaves_the_descriptor),
		TEST(cancel_takes_null),
		TEST(ops_but_the_last_may_be_null),
		TEST(wrong_requests_are_refused_at_once),
		TEST(without_memory_nothing_is_pending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
