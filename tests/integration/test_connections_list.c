/* usherctl connections --list, with ss(8) and the clients themselves as the judges. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280
#define MANY             10000
#define SPARE_FDS        200

static const char *const modes[] = {
	"distribute: shared",      "distribute: reuse-port",        "exclusive: true",
	"distribute: round-robin", "distribute: least-connections",
};

static int start(struct usher *u, const char *mode)
{
	usher_configure(u,
			"workers: 3\n"
			"listeners:\n"
			"  - {name: it, host: 127.0.0.1, port: 0, %s, handler: echo}\n"
			"  - {name: other, host: 127.0.0.1, port: 0, handler: echo}\n",
			mode);
	usher_start(u);
	return ask_port(u, "it");
}

static json_int_t number_of(const json_t *row, const char *key)
{
	assert_true(json_is_integer(json_object_get(row, key)));
	return json_integer_value(json_object_get(row, key));
}

/* The address of a client's own end. */
static const char *own_address(int fd, char text[64])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	snprintf(text, 64, "%s:%u", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
	return text;
}

/* The row of a client; NULL: it is not listed. Listed twice it fails. */
static const json_t *find(const json_t *answer, int fd)
{
	const json_t *row, *found = NULL;
	char own[64];
	size_t i;

	own_address(fd, own);
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		if (strcmp(ask_text(row, "peer"), own) != 0)
			continue;
		assert_null(found);
		found = row;
	}
	return found;
}

/* Worker, slot and process are those of one row of status. */
static void expect_worker(const json_t *status, const json_t *row)
{
	const json_t *worker;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, worker)
		if (number_of(worker, "worker") == number_of(row, "worker")) {
			assert_int_equal(number_of(worker, "slot"), number_of(row, "slot"));
			assert_int_equal(number_of(worker, "pid"), number_of(row, "pid"));
			return;
		}
	fail_msg("there is no such worker");
}

/* At rest what is listed of a port is what the kernel has. */
static void expect_listed(struct usher *u, const char *listener, int port)
{
	json_t *answer = ask_list(u, listener), *status = ask_status(u);
	const json_t *row;
	size_t i;

	assert_int_equal(json_array_size(json_object_get(answer, "connections")),
			 kernel_tcp_connections(port));
	assert_int_equal(json_array_size(json_object_get(answer, "missing")), 0);
	assert_true(json_is_false(json_object_get(answer, "truncated")));
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		assert_string_equal(ask_text(row, "listener"), listener);
		expect_worker(status, row);
	}
	for (i = 0; i < u->clients.count; i++)
		assert_non_null(find(answer, u->clients.fds[i]));
	json_decref(answer);
	json_decref(status);
}

static void each_connection_is_named_once(struct usher *u, const char *mode)
{
	int port = start(u, mode);

	clients_connect(&u->clients, port, 50);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 50);
	expect_listed(u, "it", port);

	/* One that closes disappears. */
	clients_close(&u->clients, 20);
	ask_expect_connections(u, port, 30);
	expect_listed(u, "it", port);

	json_t *answer = ask_list(u, "other");
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 0);
	json_decref(answer);
}

#define IN_MODE(mode)                                                  \
	static void each_connection_is_named_once_##mode(void **state) \
	{                                                              \
		each_connection_is_named_once(*state, modes[mode]);    \
	}
enum { SHARED, REUSE_PORT, EXCLUSIVE, ROUND_ROBIN, LEAST_CONNECTIONS };
IN_MODE(SHARED)
IN_MODE(REUSE_PORT)
IN_MODE(EXCLUSIVE)
IN_MODE(ROUND_ROBIN)
IN_MODE(LEAST_CONNECTIONS)

static void send_and_receive(int fd, size_t size)
{
	static char data[65536];

	for (size_t done = 0; done < size; done += sizeof(data)) {
		assert_int_equal(send(fd, data, sizeof(data), MSG_NOSIGNAL), sizeof(data));
		assert_int_equal(recv(fd, data, sizeof(data), MSG_WAITALL), sizeof(data));
	}
}

static void bytes_and_ages_are_those_of_the_client(void **state)
{
	struct usher *u = *state;
	int port = start(u, modes[SHARED]);
	int64_t began = now_ms();

	clients_connect(&u->clients, port, 2);
	send_and_receive(u->clients.fds[0], 20 * 65536);
	client_send(u->clients.fds[1], "seven b");
	client_expect(u->clients.fds[1], "seven b");
	int64_t accepted = now_ms();

	json_t *answer = ask_list(u, "it");
	const json_t *first = find(answer, u->clients.fds[0]);
	const json_t *second = find(answer, u->clients.fds[1]);
	double age_s = json_number_value(json_object_get(first, "age_s"));

	assert_int_equal(number_of(first, "bytes_read"), 20 * 65536);
	assert_int_equal(number_of(first, "bytes_written"), 20 * 65536);
	assert_int_equal(number_of(second, "bytes_read"), 7);
	assert_int_equal(number_of(second, "bytes_written"), 7);
	/* Both clocks were cut to whole milliseconds. */
	assert_true(age_s >= 0 && age_s <= (double)(now_ms() - began + 2) / 1000);
	json_decref(answer);

	/* It grows by the time that has passed in between. */
	int64_t again = now_ms();
	answer = ask_list(u, "it");
	double older_s = json_number_value(
		json_object_get(find(answer, u->clients.fds[0]), "age_s"));
	assert_true(older_s > age_s);
	assert_true(older_s >= (double)(again - accepted - 2) / 1000);
	json_decref(answer);
}

/* The only connection that is listed is one of this process. */
static void expect_own_process(const struct usher *u)
{
	json_t *answer = ask_list(u, NULL);
	json_t *rows = json_object_get(answer, "connections");
	char expected[64];

	snprintf(expected, sizeof(expected), "pid %d, uid %u", (int)getpid(), geteuid());
	assert_int_equal(json_array_size(rows), 1);
	assert_string_equal(ask_text(json_array_get(rows, 0), "peer"), expected);
	json_decref(answer);
}

static void clients_of_a_unix_socket_are_processes(void **state)
{
	struct usher *u = *state;

	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: it, path: %s, handler: echo}\n",
			usher_path(u, "it.sock"));
	usher_start(u);
	AUTO_CLOSE int fd = connect_unix(usher_path(u, "it.sock"));
	client_expect_echo(fd);
	expect_own_process(u);
}

/* usherd says so itself, while no worker has it. */
static void so_is_one_that_waits_for_a_worker(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: it, path: %s, distribute: round-robin, handler: echo}\n",
			usher_path(u, "it.sock"));
	usher_start(u);
	ask_ready(u, 1, pids);
	kernel_stop(pids[0]);
	AUTO_CLOSE int fd = connect_unix(usher_path(u, "it.sock"));
	expect_own_process(u);
	kernel_resume(pids[0]);
	client_expect_echo(fd);
}

static int compare_ports(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void expect_all_ports(const json_t *rows, const struct clients *clients)
{
	static int listed[MANY], connected[MANY];
	const json_t *row;
	char own[64];
	size_t i;

	assert_int_equal(json_array_size(rows), clients->count);
	json_array_foreach (rows, i, row) {
		listed[i] = atoi(strrchr(ask_text(row, "peer"), ':') + 1);
	}
	for (i = 0; i < clients->count; i++)
		connected[i] = atoi(strchr(own_address(clients->fds[i], own), ':') + 1);
	qsort(listed, clients->count, sizeof(*listed), compare_ports);
	qsort(connected, clients->count, sizeof(*connected), compare_ports);
	assert_memory_equal(listed, connected, clients->count * sizeof(*listed));
}

/* Many pages of many workers; each client is in one of them. */
static void ten_thousand_connections_are_named(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;

	if (!allow_fds(MANY + SPARE_FDS))
		skip();
	int port = start(u, modes[SHARED]);
	clients_connect(&u->clients, port, MANY);
	ask_expect_connections(u, port, MANY);

	json_t *answer = ask_list(u, "it");
	expect_all_ports(json_object_get(answer, "connections"), &u->clients);
	json_decref(answer);

	size_t lines = 0;
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", "--list", NULL), 0);
	for (const char *line = out; (line = strchr(line, '\n')); line++)
		lines++;
	assert_int_equal(lines, 1 + MANY);
	clients_close(&u->clients, u->clients.count);
	ask_expect_connections(u, port, 0);
}

static void a_worker_that_is_stopped_is_named_as_missing(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;
	pid_t pids[USHER_WORKERS_MAX];
	char expected[64];
	const json_t *row;
	size_t i;

	int port = start(u, modes[ROUND_ROBIN]);
	clients_connect(&u->clients, port, 30);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 30);

	ask_ready(u, 3, pids);
	kernel_stop(pids[1]);
	int64_t asked = now_ms();
	json_t *answer = ask_list(u, NULL);
	assert_in_range(now_ms() - asked, 0, WAIT_MS / 2);
	json_t *missing = json_object_get(answer, "missing");
	assert_int_equal(json_array_size(missing), 1);
	assert_int_equal(number_of(json_array_get(missing, 0), "pid"), pids[1]);
	assert_int_equal(number_of(json_array_get(missing, 0), "connections"), 10);
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 20);
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		assert_int_not_equal(number_of(row, "pid"), pids[1]);
	}
	json_decref(answer);

	snprintf(expected, sizeof(expected), "pid %d) did not answer in time; it had 10",
		 (int)pids[1]);
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", "--list", NULL), 0);
	assert_non_null(strstr(out, expected));

	kernel_resume(pids[1]);
	expect_listed(u, "it", port);
}

static void those_of_one_worker_can_be_asked_for(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL, *err = NULL;
	int port = start(u, modes[ROUND_ROBIN]);
	const json_t *row;
	size_t i;

	clients_connect(&u->clients, port, 30);
	clients_expect_echo(&u->clients);
	assert_int_equal(
		ask_ctl(u, &out, NULL, "--json", "connections", "--list", "--worker", "2", NULL),
		0);
	json_t *answer = json_loads(out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 10);
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		assert_int_equal(number_of(row, "worker"), 2);
	}
	json_decref(answer);

	assert_int_equal(ask_ctl(u, NULL, &err, "connections", "--list", "--worker", "77", NULL),
			 EX_USAGE);
	assert_non_null(strstr(err, "there is no worker 77"));
	assert_int_equal(ask_ctl(u, NULL, NULL, "connections", "--list", "nobody", NULL), EX_USAGE);
}

/* --- a usherd that does not go on ------------------------------------------------------------ */

#define SILENCE ""

static const char counts[] = "{\"version\":1,\"ok\":true,\"connections\":2,\"listeners\":[],"
			     "\"workers\":[{\"worker\":1,\"slot\":1,\"pid\":81,\"state\":\"ready\","
			     "\"connections\":2,\"stale\":false,\"listeners\":[]}]}\n";
static const char page[] =
	"{\"version\":1,\"ok\":true,\"worker\":1,\"stale\":false,\"next\":9,\"connections\":["
	"{\"listener\":\"it\",\"worker\":1,\"slot\":1,\"pid\":81,\"id\":9,\"peer\":"
	"\"192.0.2.7:40112\",\"age_s\":1.5,\"bytes_read\":1,\"bytes_written\":1}]}\n";
static const char refusal[] = "{\"version\":1,\"ok\":false,\"error\":{\"exit\":69,"
			      "\"message\":\"usherd is going\"}}\n";

static void answer_one(int fd, const char *line)
{
	char c = 0;

	while (c != '\n' && read(fd, &c, 1) == 1)
		;
	if (strcmp(line, SILENCE) == 0)
		pause();
	if (write(fd, line, strlen(line)) != (ssize_t)strlen(line))
		_exit(1);
	close_fd(fd);
}

/* A process in usherd's place, which gives each client one of the lines up to a NULL, and goes. */
static pid_t stand_in(const struct usher *u, const char *const *lines)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, u->control);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		for (; *lines; lines++)
			answer_one(accept(fd, NULL, NULL), *lines);
		_exit(0);
	}
	return pid;
}

/* What usherctl writes and says, and its exit code. */
static int ask_stand_in(struct usher *u, const char *const *lines, const char *timeout,
			char **ret_out, char **ret_err)
{
	pid_t pid = stand_in(u, lines);
	int code = ask_ctl(u, ret_out, ret_err, "--json", "--timeout", timeout, "connections",
			   "--list", NULL);

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(unlink(u->control), 0);
	return code;
}

/* The page is there, and the answer says itself that it is not whole, and why. */
static void expect_broken_off(struct usher *u, const char *const *lines, const char *timeout,
			      int code, const char *reason)
{
	AUTO_FREE char *out = NULL;
	AUTO_FREE char *err = NULL;

	assert_int_equal(ask_stand_in(u, lines, timeout, &out, &err), code);
	assert_non_null(strstr(err, reason));

	json_t *answer = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
	if (!answer)
		fail_msg("this is no JSON: %s", out);
	const json_t *error = json_object_get(answer, "error");
	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_int_equal(json_array_size(json_object_get(answer, "connections")), 1);
	assert_int_equal(number_of(error, "exit"), code);
	assert_non_null(strstr(ask_text(error, "message"), reason));
	json_decref(answer);
}

static void a_page_that_is_refused_ends_the_list_as_json(void **state)
{
	static const char *const lines[] = {counts, page, refusal, NULL};

	expect_broken_off(*state, lines, "60", EX_UNAVAILABLE, "usherd is going");
}

static void a_usherd_that_goes_between_two_pages_ends_the_list_as_json(void **state)
{
	static const char *const lines[] = {counts, page, NULL};
	struct usher *u = *state;

	expect_broken_off(u, lines, "60", EX_UNAVAILABLE, u->control);
}

static void a_page_that_does_not_come_ends_the_list_as_json(void **state)
{
	static const char *const lines[] = {counts, page, SILENCE, NULL};

	expect_broken_off(*state, lines, "2", EX_TEMPFAIL, "did not answer within 2 s");
}

static void a_first_page_that_is_refused_is_the_refusal(void **state)
{
	static const char *const lines[] = {counts, refusal, NULL};
	AUTO_FREE char *out = NULL;
	AUTO_FREE char *err = NULL;

	assert_int_equal(ask_stand_in(*state, lines, "60", &out, &err), EX_UNAVAILABLE);
	assert_string_equal(out, refusal);
	assert_non_null(strstr(err, "usherd is going"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(each_connection_is_named_once_SHARED),
		USHER_TEST(each_connection_is_named_once_REUSE_PORT),
		USHER_TEST(each_connection_is_named_once_EXCLUSIVE),
		USHER_TEST(each_connection_is_named_once_ROUND_ROBIN),
		USHER_TEST(each_connection_is_named_once_LEAST_CONNECTIONS),
		USHER_TEST(bytes_and_ages_are_those_of_the_client),
		USHER_TEST(clients_of_a_unix_socket_are_processes),
		USHER_TEST(so_is_one_that_waits_for_a_worker),
		USHER_TEST(a_worker_that_is_stopped_is_named_as_missing),
		USHER_TEST(those_of_one_worker_can_be_asked_for),
		USHER_TEST(ten_thousand_connections_are_named),
		USHER_TEST(a_page_that_is_refused_ends_the_list_as_json),
		USHER_TEST(a_usherd_that_goes_between_two_pages_ends_the_list_as_json),
		USHER_TEST(a_page_that_does_not_come_ends_the_list_as_json),
		USHER_TEST(a_first_page_that_is_refused_is_the_refusal),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
