/* The example programs, each as its user would meet it: started, talked to, read. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/process.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 120
#define IDLE_MS          "100"

struct example {
	struct process server;
	struct process other;
	char folder[32];
	char path[64];
};

static int set_up(void **state)
{
	struct example *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	*state = e;
	strcpy(e->folder, "/tmp/usher-example-XXXXXX");
	if (!mkdtemp(e->folder))
		return -1;
	snprintf(e->path, sizeof(e->path), "%s/echo.sock", e->folder);
	return 0;
}

static int tear_down(void **state)
{
	struct example *e = *state;

	process_done(&e->server);
	process_done(&e->other);
	unlink(e->path);
	rmdir(e->folder);
	free(e);
	return 0;
}

static void start(struct process *p, const char *name, const char *first, const char *second)
{
	char program[PATH_MAX], relative[64];
	const char *const argv[] = {program, first, second, NULL};

	snprintf(relative, sizeof(relative), "tests/examples/%s", name);
	built(relative, program);
	process_start(p, &(struct process_options){.argv = argv});
}

/* --- what it says ---------------------------------------------------------------------------- */

struct question {
	const struct process *process;
	const char *text;
};

static bool has_said(void *ctx)
{
	const struct question *q = ctx;
	AUTO_FREE char *out = process_text(q->process->out);

	return strstr(out, q->text);
}

static void expect_said(const struct process *p, const char *text)
{
	struct question q = {p, text};

	if (poll_until(has_said, &q, WAIT_MS))
		return;

	AUTO_FREE char *out = process_text(p->out);
	AUTO_FREE char *err = process_text(p->err);
	fail_msg("it never said \"%s\", but: %s%s", text, out, err);
}

static void expect_error(const struct process *p, const char *text)
{
	AUTO_FREE char *err = process_text(p->err);

	if (!strstr(err, text))
		fail_msg("instead of \"%s\" it said: %s", text, err);
}

/* --- where it listens ------------------------------------------------------------------------ */

struct port_question {
	pid_t pid;
	int port;
};

/* A row of ss(8) is: state, two queues, local address, remote address, users:(("name",pid=7,... */
static bool has_port(void *ctx)
{
	static const char *const argv[] = {"/bin/ss", "-Htlnp", NULL};
	struct port_question *q = ctx;
	AUTO_FREE char *out = NULL;
	char pid[32], local[128];

	assert_int_equal(process_run(&(struct process_options){.argv = argv}, &out, NULL), 0);
	snprintf(pid, sizeof(pid), ",pid=%d,", (int)q->pid);
	for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, pid) && sscanf(line, "%*s %*s %*s %127s", local) == 1)
			q->port = atoi(strrchr(local, ':') + 1);
	return q->port > 0;
}

static int port_of(const struct process *p)
{
	struct port_question q = {.pid = p->pid};

	if (!poll_until(has_port, &q, WAIT_MS))
		fail_msg("it does not listen");
	return q.port;
}

static void start_on_any_port(struct process *p, const char *name, const char *second,
			      char port[16])
{
	start(p, name, "0", second);
	snprintf(port, 16, "%d", port_of(p));
}

/* --- echo ------------------------------------------------------------------------------------ */

static void expect_echo_server(const struct process *p, int client)
{
	expect_said(p, "server bound\nclient connected\n");
	client_expect(client, "hello\r\n");
	client_expect_echo(client);
	client_leave(client);
	expect_said(p, "client disconnected\n");
}

static void echo_server_greets_and_echoes(void **state)
{
	struct example *e = *state;
	char port[16];

	start_on_any_port(&e->server, "echo_server", NULL, port);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", atoi(port));
	expect_echo_server(&e->server, client);
	kill(e->server.pid, SIGTERM);
	assert_int_equal(process_wait(&e->server, WAIT_MS), 0);
}

static void echo_server_serves_a_path_and_removes_it(void **state)
{
	struct example *e = *state;

	start(&e->server, "echo_server", e->path, NULL);
	expect_said(&e->server, "server bound\n");
	AUTO_CLOSE int client = connect_unix(e->path);
	AUTO_CLOSE int late = connect_unix(e->path);
	expect_echo_server(&e->server, client);

	client_expect(late, "hello\r\n");
	kill(e->server.pid, SIGTERM);
	client_leave(late);
	assert_int_equal(process_wait(&e->server, WAIT_MS), 0);
	assert_int_equal(access(e->path, F_OK), -1);
}

static void expect_whole_talk(const struct process *client)
{
	AUTO_FREE char *out = process_text(client->out);

	assert_string_equal(out, "connected to server!\nhello\r\nworld!\r\n"
				 "disconnected from server\n");
}

static void echo_client_talks_over_a_port(void **state)
{
	struct example *e = *state;
	char port[16];

	start_on_any_port(&e->server, "echo_server", NULL, port);
	start(&e->other, "echo_client", port, NULL);
	assert_int_equal(process_wait(&e->other, WAIT_MS), 0);
	expect_whole_talk(&e->other);
	expect_said(&e->server, "client disconnected\n");
}

static void echo_client_talks_over_a_path(void **state)
{
	struct example *e = *state;

	start(&e->server, "echo_server", e->path, NULL);
	expect_said(&e->server, "server bound\n");
	start(&e->other, "echo_client", e->path, NULL);
	assert_int_equal(process_wait(&e->other, WAIT_MS), 0);
	expect_whole_talk(&e->other);
}

static void echo_client_says_why_it_cannot_connect(void **state)
{
	struct example *e = *state;

	start(&e->other, "echo_client", e->path, NULL);
	assert_int_equal(process_wait(&e->other, WAIT_MS), EXIT_FAILURE);
	expect_error(&e->other, "connect ENOENT /tmp/usher-example-");
}

struct fd_question {
	pid_t pid;
	int count;
};

static bool holds_so_many_fds(void *ctx)
{
	const struct fd_question *q = ctx;

	return kernel_fd_count(q->pid) == q->count;
}

/* --- listening ------------------------------------------------------------------------------- */

/* AD-1, RD-5: what the client says must not keep its connection open. */
static void goodbye_tells_its_port_and_keeps_nobody(void **state)
{
	struct example *e = *state;
	char said[64];

	start(&e->server, "goodbye", NULL, NULL);
	snprintf(said, sizeof(said), "opened server on { port: %d, family: 'IPv",
		 port_of(&e->server));
	expect_said(&e->server, said);

	struct fd_question q = {e->server.pid, kernel_fd_count(e->server.pid)};
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port_of(&e->server));
	client_send(client, "who is there?");
	shutdown(client, SHUT_WR);
	client_expect(client, "goodbye\n");
	client_expect_end(client);
	assert_true(poll_until(holds_so_many_fds, &q, WAIT_MS));
}

static int listen_somewhere(struct bound *ret)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;

	assert_int_equal(bind_open(&options, ret, &which), 0);
	return addr_port(&ret->addr);
}

/* SL-7, DF-2 */
static void listen_retry_takes_over_a_second_later(void **state)
{
	struct example *e = *state;
	struct bound other;
	char port[16];

	snprintf(port, sizeof(port), "%d", listen_somewhere(&other));
	int64_t since = now_ms();
	start(&e->server, "listen_retry", port, NULL);
	expect_said(&e->server, "Address in use, retrying...\n");
	bound_close(&other);
	expect_said(&e->server, "server bound\n");
	assert_true(now_ms() - since >= 1000);

	AUTO_CLOSE int client = connect_tcp("127.0.0.1", atoi(port));
	client_expect(client, "at last\n");
	client_expect_end(client);
	expect_error(&e->server, "listen EADDRINUSE: address already in use 127.0.0.1:");
	AUTO_FREE char *out = process_text(e->server.out);
	assert_null(strstr(out, "server closed"));
}

/* LS-4 */
static void listen_exclusive_shares_its_port_with_nobody(void **state)
{
	struct example *e = *state;
	char port[16];

	start_on_any_port(&e->server, "listen_exclusive", NULL, port);
	expect_said(&e->server, "server bound\n");
	start(&e->other, "listen_exclusive", port, NULL);
	assert_int_equal(process_wait(&e->other, WAIT_MS), EXIT_FAILURE);
	expect_error(&e->other, "EADDRINUSE: ");
}

/* --- connections ----------------------------------------------------------------------------- */

/* GC-1, AC-1, AC-3 */
static void get_connections_counts_up_to_its_limit(void **state)
{
	struct example *e = *state;
	char port[16];
	int clients[3];

	start_on_any_port(&e->server, "get_connections", NULL, port);
	for (int i = 0; i < 3; i++) {
		char text[32];

		clients[i] = connect_tcp("127.0.0.1", atoi(port));
		snprintf(text, sizeof(text), "%d connections\n", i + 1);
		client_expect(clients[i], text);
	}

	AUTO_CLOSE int fourth = connect_tcp("127.0.0.1", atoi(port));
	client_expect_end(fourth);
	expect_said(&e->server, "no room for 127.0.0.1 port ");
	for (int i = 0; i < 3; i++)
		close(clients[i]);
}

/* TO-2 */
static void timeout_hangs_up_on_who_is_silent(void **state)
{
	struct example *e = *state;
	char port[16];

	start_on_any_port(&e->server, "timeout", IDLE_MS, port);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", atoi(port));
	client_send(client, "x");
	expect_said(&e->server, "1 bytes\n");
	client_expect_end(client);
	expect_said(&e->server, "1 bytes\nsocket timeout\n");
}

/* --- several processes ----------------------------------------------------------------------- */

static int port_that_was_said(const struct process *p)
{
	AUTO_FREE char *out = process_text(p->out);
	int port = 0;

	assert_int_equal(sscanf(strstr(out, "port "), "port %d", &port), 1);
	return port;
}

static bool has_two_children(void *ctx)
{
	pid_t pids[2];

	return kernel_children(*(pid_t *)ctx, pids, 2) == 2;
}

/* WK-5, WK-9, WK-10 */
static void cluster_echo_replaces_who_dies_and_ends_with_its_clients(void **state)
{
	struct example *e = *state;
	pid_t workers[2];

	start(&e->server, "cluster_echo", "2", "0");
	expect_said(&e->server, "worker 1 listens");
	expect_said(&e->server, "worker 2 listens");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port_that_was_said(&e->server));
	client_expect_echo(client);

	assert_true(poll_until(has_two_children, &e->server.pid, WAIT_MS));
	assert_int_equal(kernel_children(e->server.pid, workers, 2), 2);
	kill(workers[0], SIGKILL);
	expect_said(&e->server, "ended: code -1, signal 9");
	expect_said(&e->server, "worker 3 listens");

	AUTO_CLOSE int last = connect_tcp("127.0.0.1", port_that_was_said(&e->server));
	client_expect_echo(last);
	/* Else each of the two may have one. */
	close(take_fd(&client));
	kill(e->server.pid, SIGTERM);
	expect_said(&e->server, "ended: code 0, signal 0");
	client_expect_echo(last);
	client_leave(last);
	assert_int_equal(process_wait(&e->server, WAIT_MS), 0);
}

#define EXAMPLE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXAMPLE_TEST(echo_server_greets_and_echoes),
		EXAMPLE_TEST(echo_server_serves_a_path_and_removes_it),
		EXAMPLE_TEST(echo_client_talks_over_a_port),
		EXAMPLE_TEST(echo_client_talks_over_a_path),
		EXAMPLE_TEST(echo_client_says_why_it_cannot_connect),
		EXAMPLE_TEST(goodbye_tells_its_port_and_keeps_nobody),
		EXAMPLE_TEST(listen_retry_takes_over_a_second_later),
		EXAMPLE_TEST(listen_exclusive_shares_its_port_with_nobody),
		EXAMPLE_TEST(get_connections_counts_up_to_its_limit),
		EXAMPLE_TEST(timeout_hangs_up_on_who_is_silent),
		EXAMPLE_TEST(cluster_echo_replaces_who_dies_and_ends_with_its_clients),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
