#include "tests/helpers/ask.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

/* usherd waits for an answer for a second; the rest is for a loaded machine. */
#define ANSWER_MS 10000

int ask_ctl(const struct usher *u, char **ret_out, char **ret_err, ...)
{
	char program[PATH_MAX];
	const char *argv[PROCESS_ARGUMENTS_MAX] = {built("usherctl", program), "-s", u->control};
	va_list args;

	va_start(args, ret_err);
	process_arguments(argv, 3, args);
	va_end(args);
	return process_run(&(struct process_options){.argv = argv}, ret_out, ret_err);
}

const char *ask_text(const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	if (!json_is_string(value))
		fail_msg("the answer has no string \"%s\"", key);
	return json_string_value(value);
}

/* What follows the verb ends with the first NULL. */
static json_t *ask(const struct usher *u, const char *verb, const char *option,
		   const char *argument)
{
	AUTO_FREE char *out = NULL;
	AUTO_FREE char *err = NULL;
	json_error_t error;
	int code = ask_ctl(u, &out, &err, "--json", verb, option, argument, NULL);

	if (code)
		fail_msg("usherctl --json %s ended with %d: %s", verb, code, err);
	json_t *answer = json_loads(out, 0, &error);
	if (!answer)
		fail_msg("usherctl --json %s: %s in:\n%s", verb, error.text, out);
	return answer;
}

json_t *ask_status(const struct usher *u)
{
	return ask(u, "status", NULL, NULL);
}

json_t *ask_connections(const struct usher *u)
{
	return ask(u, "connections", NULL, NULL);
}

/* How many workers have not answered in time; the one that is stopped is among them. */
static size_t count_stale(const json_t *answer, pid_t stopped)
{
	bool among_them = stopped == 0;
	size_t i, stale = 0;
	json_t *row;

	json_array_foreach (json_object_get(answer, "workers"), i, row)
		if (json_is_true(json_object_get(row, "stale"))) {
			among_them |= json_integer_value(json_object_get(row, "pid")) == stopped;
			stale++;
		}
	assert_true(among_them);
	return stale;
}

json_t *ask_answered(const struct usher *u, pid_t stopped)
{
	int64_t deadline = now_ms() + WAIT_MS;

	for (;;) {
		int64_t asked = now_ms();
		json_t *answer = ask_connections(u);

		assert_in_range(now_ms() - asked, 0, ANSWER_MS);
		if (count_stale(answer, stopped) == (stopped != 0))
			return answer;
		json_decref(answer);
		assert_true(now_ms() < deadline);
	}
}

json_t *ask_list(const struct usher *u, const char *listener)
{
	return ask(u, "connections", "--list", listener);
}

const char *ask_address(const struct usher *u, const char *listener)
{
	static char address[128];
	json_t *status = ask_status(u);
	json_t *row;
	size_t i;

	address[0] = '\0';
	json_array_foreach (json_object_get(status, "listeners"), i, row)
		if (strcmp(ask_text(row, "name"), listener) == 0)
			snprintf(address, sizeof(address), "%s", ask_text(row, "address"));
	json_decref(status);
	if (!address[0])
		fail_msg("status knows no address of listener %s", listener);
	return address;
}

int ask_port(const struct usher *u, const char *listener)
{
	const char *colon = strrchr(ask_address(u, listener), ':');

	assert_non_null(colon);
	int port = (int)strtol(colon + 1, NULL, 10);
	assert_in_range(port, 1, 65535);
	return port;
}

size_t ask_workers(const struct usher *u, const char *state, pid_t pids[USHER_WORKERS_MAX])
{
	json_t *status = ask_status(u);
	size_t i, count = 0;
	json_t *row;

	json_array_foreach (json_object_get(status, "workers"), i, row) {
		if (strcmp(ask_text(row, "state"), state) != 0)
			continue;
		assert_true(count < USHER_WORKERS_MAX);
		pids[count++] = (pid_t)json_integer_value(json_object_get(row, "pid"));
	}
	json_decref(status);
	return count;
}

void ask_ready(const struct usher *u, size_t count, pid_t pids[USHER_WORKERS_MAX])
{
	assert_int_equal(ask_workers(u, "ready", pids), count);
}

struct workers_question {
	const struct usher *usher;
	const char *state;
	size_t count;
	pid_t without; /* -1: nobody; one that is backing off has no pid */
};

static bool are_so_many(void *ctx)
{
	const struct workers_question *q = ctx;
	pid_t pids[USHER_WORKERS_MAX];
	size_t count = ask_workers(q->usher, q->state, pids);

	for (size_t i = 0; i < count; i++)
		if (pids[i] == q->without)
			return false;
	return count == q->count;
}

bool ask_until_workers(struct usher *u, const char *state, size_t count)
{
	struct workers_question q = {u, state, count, -1};

	return poll_until(are_so_many, &q, WAIT_MS);
}

bool ask_until_replaced(struct usher *u, pid_t pid, size_t count)
{
	struct workers_question q = {u, "ready", count, pid};

	return poll_until(are_so_many, &q, WAIT_MS);
}

static bool backs_off(void *ctx)
{
	struct usher *u = ctx;
	pid_t pids[USHER_WORKERS_MAX];

	/* usherd may not yet have noticed that it was killed before. */
	if (ask_workers(u, "ready", pids) == 1)
		assert_true(kill(pids[0], SIGKILL) == 0 || errno == ESRCH);
	return ask_workers(u, "backing-off", pids) == 1;
}

bool ask_until_backing_off(struct usher *u)
{
	return poll_until(backs_off, u, WAIT_MS);
}

static long sum_of_rows(const json_t *answer, const char *rows)
{
	const json_t *array = json_object_get(answer, rows);
	long sum = 0;
	json_t *row;
	size_t i;

	assert_true(json_is_array(array));
	json_array_foreach (array, i, row) {
		const json_t *count = json_object_get(row, "connections");

		assert_true(json_is_integer(count));
		sum += (long)json_integer_value(count);
	}
	return sum;
}

long ask_total(const struct usher *u)
{
	json_t *answer = ask_connections(u);
	const json_t *total = json_object_get(answer, "connections");

	assert_true(json_is_integer(total));
	long count = (long)json_integer_value(total);
	const json_t *waiting = json_object_get(json_object_get(answer, "waiting"), "connections");
	assert_true(json_is_integer(waiting));
	assert_int_equal(sum_of_rows(answer, "workers") + (long)json_integer_value(waiting), count);
	assert_int_equal(sum_of_rows(answer, "listeners"), count);
	json_decref(answer);
	return count;
}

struct total_question {
	const struct usher *usher;
	long wanted;
	long counted;
};

static bool is_the_total(void *ctx)
{
	struct total_question *q = ctx;

	q->counted = ask_total(q->usher);
	return q->counted == q->wanted;
}

void ask_expect_total(const struct usher *u, long count)
{
	struct total_question q = {.usher = u, .wanted = count};

	if (!poll_until(is_the_total, &q, WAIT_MS))
		fail_msg("%ld connections expected; usherctl says %ld", count, q.counted);
}

struct count_question {
	const struct usher *usher;
	struct clients *clients; /* whose number is wanted, or NULL */
	int port;
	long wanted;
	long counted;
	long kernels;
};

static bool agree(void *ctx)
{
	struct count_question *q = ctx;

	q->counted = ask_total(q->usher);
	if (q->counted != q->wanted)
		return false;
	q->kernels = kernel_tcp_connections(q->port);
	return q->kernels == q->wanted;
}

void ask_expect_connections(struct usher *u, int port, long count)
{
	struct count_question q = {.usher = u, .port = port, .wanted = count, .kernels = -1};

	if (!poll_until(agree, &q, WAIT_MS))
		fail_msg("%ld connections expected; usherctl says %ld, the kernel %ld", count,
			 q.counted, kernel_tcp_connections(port));
}

static bool those_left_are_all(void *ctx)
{
	struct count_question *q = ctx;

	clients_forget_ended(q->clients);
	q->wanted = (long)q->clients->count;
	return agree(q);
}

void ask_forget_ended(struct usher *u, int port)
{
	struct count_question q = {.usher = u, .clients = &u->clients, .port = port, .kernels = -1};

	if (!poll_until(those_left_are_all, &q, WAIT_MS))
		fail_msg("%ld clients are left; usherctl says %ld, the kernel %ld", q.wanted,
			 q.counted, kernel_tcp_connections(port));
}

void ask_expect_served(struct usher *u, int port)
{
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, (long)u->clients.count);
}
