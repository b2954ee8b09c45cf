/* exclusive: true gives a listener to one worker; when that dies, another gets it with its queue.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sysexits.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define QUEUED           200

static const char config[] =
	"workers: 3\n"
	"listeners:\n"
	"  - {name: one, host: 127.0.0.1, port: 0, exclusive: true, handler: echo}\n"
	"  - {name: all, host: 127.0.0.1, port: 0, handler: echo}\n";

/* The worker id that status names as the owner of a listener; 0: none. */
static json_int_t owner_of(const struct usher *u, const char *listener)
{
	json_t *status = ask_status(u);
	json_int_t owner = 0;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "listeners"), i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), listener) == 0)
			owner = json_integer_value(json_object_get(row, "owner"));
	json_decref(status);
	return owner;
}

static pid_t pid_of(const struct usher *u, json_int_t worker)
{
	json_t *status = ask_status(u);
	pid_t pid = 0;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "worker")) == worker)
			pid = (pid_t)json_integer_value(json_object_get(row, "pid"));
	json_decref(status);
	assert_true(pid > 0);
	return pid;
}

static long connections_of(const struct usher *u, json_int_t worker)
{
	json_t *answer = ask_connections(u);
	long count = 0;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(answer, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "worker")) == worker)
			count = (long)json_integer_value(json_object_get(row, "connections"));
	json_decref(answer);
	return count;
}

static void only_the_owner_accepts(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);

	int port = ask_port(u, "one");
	json_int_t owner = owner_of(u, "one");
	assert_true(owner > 0);
	assert_int_equal(owner_of(u, "all"), 0);
	clients_connect(&u->clients, port, 50);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 50);
	assert_int_equal(connections_of(u, owner), 50);
}

/* While the owner is stopped nobody else accepts: connections wait in the queue. */
static void a_stopped_owner_is_not_helped(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);

	pid_t owner = pid_of(u, owner_of(u, "one"));
	kernel_stop(owner);
	AUTO_CLOSE int fd = connect_tcp("127.0.0.1", ask_port(u, "one"));
	client_send(fd, "x");
	assert_false(wait_readable(fd, 300));
	kernel_resume(owner);
	client_expect(fd, "x");
}

static void the_queue_of_a_dead_owner_is_served_by_another(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);

	int port = ask_port(u, "one");
	json_int_t owner = owner_of(u, "one");
	pid_t pid = pid_of(u, owner);
	kernel_stop(pid);
	clients_connect(&u->clients, port, QUEUED);
	kernel_kill(pid);

	clients_expect_echo(&u->clients);
	assert_true(owner_of(u, "one") != owner);
	assert_true(owner_of(u, "one") > 0);
	ask_expect_connections(u, port, QUEUED);
	assert_int_equal(connections_of(u, owner_of(u, "one")), QUEUED);
	assert_true(ask_until_workers(u, "ready", 3));
}

static void the_only_worker_gets_it_again(void **state)
{
	struct usher *u = *state;

	usher_configure(
		u, "workers: 1\n"
		   "listeners:\n"
		   "  - {name: one, host: 127.0.0.1, port: 0, exclusive: true, handler: echo}\n");
	usher_start(u);

	int port = ask_port(u, "one");
	pid_t pid = pid_of(u, owner_of(u, "one"));
	kernel_stop(pid);
	clients_connect(&u->clients, port, 20);
	kernel_kill(pid);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 20);
}

/* The specification's second attempt: another listen on an exclusive address is EADDRINUSE. */
static void an_exclusive_address_is_taken(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *log = NULL;

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "one");

	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: a, host: 127.0.0.1, port: %d, exclusive: true, handler: echo}\n"
			"  - {name: b, host: 127.0.0.1, port: %d, handler: echo}\n",
			port, port);
	usher_launch(u);
	assert_int_equal(usher_ended(u), EX_CONFIG);
	log = usher_log(u);
	assert_non_null(strstr(log, "\"b\""));
}

static void scaling_down_moves_it_to_a_worker_that_stays(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);
	usher_holds_other_fds(u);

	int port = ask_port(u, "one");
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "1", NULL), 0);
	assert_true(ask_until_workers(u, "ready", 1));
	clients_connect(&u->clients, port, 20);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 20);
}

/* The one whose turn it would be is that worker itself. */
static void an_owner_that_is_told_to_end_does_not_get_it_back(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);

	int port = ask_port(u, "one");
	json_int_t owner = owner_of(u, "one");
	AUTO_CLOSE int stays = connect_tcp("127.0.0.1", port);
	client_send(stays, "x");
	client_expect(stays, "x");

	assert_int_equal(kill(pid_of(u, owner), SIGTERM), 0);
	assert_true(ask_until_workers(u, "draining", 1));
	assert_true(owner_of(u, "one") > 0);
	assert_true(owner_of(u, "one") != owner);
	clients_connect(&u->clients, port, 20);
	clients_expect_echo(&u->clients);
	client_send(stays, "y");
	client_expect(stays, "y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(only_the_owner_accepts),
		USHER_TEST(a_stopped_owner_is_not_helped),
		USHER_TEST(the_queue_of_a_dead_owner_is_served_by_another),
		USHER_TEST(the_only_worker_gets_it_again),
		USHER_TEST(an_exclusive_address_is_taken),
		USHER_TEST(scaling_down_moves_it_to_a_worker_that_stays),
		USHER_TEST(an_owner_that_is_told_to_end_does_not_get_it_back),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
