/* Servers that programs in workers make, and their connections, as usherctl shows them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/listen_world.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* The address of a client's own end. */
static const char *own_address(int fd, char text[64])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	snprintf(text, 64, "%s:%u", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
	return text;
}

static const json_t *row_of(const json_t *rows, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			return row;
	return NULL;
}

/* WK-3, GC-6 */
static void usherctl_shows_who_listens_and_counts_their_connections(void **state)
{
	struct usher *u = *state;
	char name[64];
	int fds[6];

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	listen_any(1, "a");
	snprintf(name, sizeof(name), "127.0.0.1:%d", port);
	assert_true(usher_logs(u, "listens on 127.0.0.1:"));

	json_t *status = ask_status(u);
	const json_t *row = row_of(json_object_get(status, "listeners"), name);
	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "kind")), "tcp");
	assert_int_equal(json_array_size(json_object_get(row, "holders")), 2);
	json_decref(status);

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", port);
		listen_greeter(fds[i]);
	}
	ask_expect_connections(u, port, ARRAY_LEN(fds));
	char *out;
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", name, NULL), 0);
	assert_non_null(strstr(out, name));
	free(out);

	/* Connections stay in the sum when the server is closed. */
	crew_say(&crew, 0, "close a");
	crew_say(&crew, 1, "close a");
	listen_expect_refused(port);
	ask_expect_connections(u, port, ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	crew_hear(&crew, 0, "a closed");
	crew_hear(&crew, 1, "a closed");
	ask_expect_connections(u, port, 0);
	status = ask_status(u);
	assert_null(row_of(json_object_get(status, "listeners"), name));
	json_decref(status);
}

/* The client is listed once, as the listener's and with the worker that greeted it. Its port alone
 * says not which one it is: clients of different ports may have the same. */
static void expect_in_list(const json_t *answer, const char *name, int fd, pid_t pid)
{
	const json_t *row;
	char peer[64];
	size_t i, found = 0;

	own_address(fd, peer);
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		if (strcmp(ask_text(row, "peer"), peer) != 0 ||
		    strcmp(ask_text(row, "listener"), name) != 0)
			continue;
		assert_int_equal(json_integer_value(json_object_get(row, "pid")), pid);
		found++;
	}
	assert_int_equal(found, 1);
}

static size_t list_size(const struct usher *u, const char *name)
{
	json_t *answer = ask_list(u, name);
	size_t size = json_array_size(json_object_get(answer, "connections"));

	json_decref(answer);
	return size;
}

static bool lists_nothing(void *ctx)
{
	return list_size(ctx, NULL) == 0;
}

/* WK-3 */
static void usherctl_lists_their_connections(void **state)
{
	struct usher *u = *state;
	char names[2][64];
	pid_t pids[12];
	int fds[12];

	listen_start(u, 2, "");
	int ports[2] = {listen_any(0, "a"), listen_any(0, "b")};
	assert_int_equal(listen_any(1, "a"), ports[0]);
	for (size_t i = 0; i < 2; i++)
		snprintf(names[i], sizeof(names[i]), "127.0.0.1:%d", ports[i]);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", ports[i % 2]);
		pids[i] = listen_greeter(fds[i]);
	}
	AUTO_CLOSE int mine = connect_unix(usher_path(u, "mine"));
	client_expect_echo(mine);

	json_t *all = ask_list(u, NULL), *first = ask_list(u, names[0]);
	assert_int_equal(json_array_size(json_object_get(all, "connections")), 13);
	assert_int_equal(json_array_size(json_object_get(first, "connections")), 6);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		expect_in_list(all, names[i % 2], fds[i], pids[i]);
		if (i % 2 == 0)
			expect_in_list(first, names[0], fds[i], pids[i]);
	}
	json_decref(all);
	json_decref(first);
	assert_int_equal(list_size(u, "mine"), 1);

	/* Connections stay in the list when the server is closed. */
	crew_say(&crew, 0, "close b");
	listen_expect_refused(ports[1]);
	all = ask_list(u, NULL);
	expect_in_list(all, names[1], fds[1], crew.mates[0].pid);
	json_decref(all);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	crew_hear(&crew, 0, "b closed");
	close(take_fd(&mine));
	assert_true(poll_until(lists_nothing, u, WAIT_MS));
	listen_close(0, "a");
	listen_close(1, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(usherctl_shows_who_listens_and_counts_their_connections),
		LISTEN_TEST(usherctl_lists_their_connections),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
