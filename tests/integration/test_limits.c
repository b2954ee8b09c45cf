/* The bare servers that usher's speed is measured against do the whole job: every byte arrives, and
 * each accept mode shares connections as it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/clients.h"
#include "tests/helpers/load.h"
#include "tests/helpers/wait.h"

#define CLIENTS 40

static int port_of(const struct bare_server *s)
{
	int port = 0;

	assert_int_equal(sscanf(s->target, "127.0.0.1:%d", &port), 1);
	return port;
}

/* Connects one after the other, each of which has had an answer, to 4 workers of a mode; what the
 * fullest and the emptiest of them got. */
static void share(const char *mode, json_int_t *ret_most, json_int_t *ret_least)
{
	struct bare_server s = {0};
	json_t *workers, *row;
	json_int_t sum = 0;
	size_t i;

	bare_server_start(&s, "limit_echo", "--accept", mode, "--workers", "4", NULL);
	for (i = 0; i < CLIENTS; i++) {
		int fd = connect_tcp("127.0.0.1", port_of(&s));

		client_expect_echo(fd);
		close(fd);
	}

	workers = bare_server_end(&s);
	assert_int_equal(json_array_size(workers), 4);
	*ret_most = 0;
	*ret_least = CLIENTS;
	json_array_foreach (workers, i, row) {
		json_int_t count = json_integer_value(json_object_get(row, "connections"));

		sum += count;
		*ret_most = count > *ret_most ? count : *ret_most;
		*ret_least = count < *ret_least ? count : *ret_least;
	}
	assert_int_equal(sum, CLIENTS);
	json_decref(workers);
	bare_server_done(&s);
}

static void passed_connections_go_round_exactly(void **state)
{
	json_int_t most, least;

	share("pass", &most, &least);
	assert_int_equal(most, CLIENTS / 4);
	assert_int_equal(least, CLIENTS / 4);
}

/* A worker that is not back in its wait when the next connection comes misses a turn, and all of
 * them if it got no processor meanwhile: then once more. */
static void workers_that_requeue_all_get_connections(void **state)
{
	json_int_t most, least = 0;

	for (int i = 0; i < 20 && least == 0; i++)
		share("shared-even", &most, &least);
	assert_true(least > 0);
}

static void shared_and_reuse_port_take_every_connection(void **state)
{
	json_int_t most, least;

	share("shared", &most, &least);
	share("reuse-port", &most, &least);
}

/* More than the buffers of all sockets on the way hold: the relay must wait for its ends. */
static void relay(const char *way)
{
	struct bare_server echo = {0}, between = {0};
	json_t *report;
	char to[160];

	bare_server_start(&echo, "limit_echo", NULL);
	snprintf(to, sizeof(to), "%s%s", way, echo.target);
	bare_server_start(&between, "limit_relay", "--to", to, NULL);

	assert_int_equal(
		load_run(&report, "-c", "3", "-d", "0.3", "-v", "stream", between.target, NULL), 0);
	json_decref(report);
	assert_int_equal(
		load_run(&report, "-c", "3", "-d", "0.2", "-v", "churn", between.target, NULL), 0);
	assert_true(load_figure(report, "total", "connections") > 0);
	assert_int_equal(bare_server_counted(&between, "connections"),
			 3 + load_figure(report, "total", "connections"));
	json_decref(report);
	bare_server_done(&between);
	bare_server_done(&echo);
}

static void copying_relay_returns_every_byte(void **state)
{
	relay("");
}

static void splicing_relay_returns_every_byte(void **state)
{
	relay("splice:");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passed_connections_go_round_exactly),
		cmocka_unit_test(workers_that_requeue_all_get_connections),
		cmocka_unit_test(shared_and_reuse_port_take_every_connection),
		cmocka_unit_test(copying_relay_returns_every_byte),
		cmocka_unit_test(splicing_relay_returns_every_byte),
	};

	watchdog(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
