/* Workers of <usher/cluster.h> that break the rules of the channel. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc/messages.h"
#include "common/macros.h"
#include "tests/helpers/cluster_roles.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

#define CHANNEL 3

static bool try_raw(enum ipc_type type, const void *body, const void *row)
{
	static alignas(uint32_t) char packet[IPC_PACKET_MAX];
	int size = ipc_encode(type, body, row, row != NULL, packet);

	return size > 0 && send(CHANNEL, packet, (size_t)size, MSG_NOSIGNAL) == size;
}

static void send_raw(enum ipc_type type, const void *body, const void *row)
{
	if (!try_raw(type, body, row))
		exit(EXIT_FAILURE);
}

static void talk_nonsense(struct ev_loop *loop)
{
	cluster_role_open(loop);
	send(CHANNEL, "nonsense", 8, 0);
	for (;;)
		pause();
}

static void talk_before_hello(struct ev_loop *loop)
{
	send_raw(IPC_LEAVING, NULL, NULL);
	for (;;)
		pause();
}

static void talk_of_another_version(struct ev_loop *loop)
{
	const struct ipc_hello hello = {.version = IPC_VERSION + 1};

	send_raw(IPC_HELLO, &hello, NULL);
	for (;;)
		pause();
}

static void greet_twice(struct ev_loop *loop)
{
	const struct ipc_hello hello = {.version = IPC_VERSION};

	cluster_role_open(loop);
	send_raw(IPC_HELLO, &hello, NULL);
	for (;;)
		pause();
}

/* A message of usher-worker's, which this master has no use for. */
static void say_what_another_program_says(struct ev_loop *loop)
{
	cluster_role_open(loop);
	send_raw(IPC_READY, NULL, NULL);
	for (;;)
		pause();
}

static void count_what_never_was(struct ev_loop *loop)
{
	const struct ipc_progress progress = {0};
	const struct ipc_counted_row row = {.listener = 12345, .connections = 1};

	cluster_role_open(loop);
	send_raw(IPC_PROGRESS, &progress, &row);
	for (;;)
		pause();
}

/* Each is told on the standard output when it has gone. */
static void send_messages_without_end(void)
{
	struct pollfd channel = {.fd = CHANNEL, .events = POLLOUT};
	struct ipc_mail body = {.number = 1};

	while (poll(&channel, 1, WAIT_MS) == 1) {
		if (try_raw(IPC_MAIL, &body, NULL)) {
			body.number++;
			if (write(STDOUT_FILENO, "x", 1) != 1)
				return;
		} else if (errno != EAGAIN) {
			return;
		}
	}
}

/* Its child has the channel as well, and uses it for as long as it can. */
static void leave_a_child_that_goes_on(struct ev_loop *loop)
{
	cluster_role_open(loop);
	if (fork() == 0)
		send_messages_without_end();
	_exit(0);
}

static const struct cluster_role roles[] = {
	{"talk_nonsense", talk_nonsense},
	{"talk_before_hello", talk_before_hello},
	{"talk_of_another_version", talk_of_another_version},
	{"greet_twice", greet_twice},
	{"say_what_another_program_says", say_what_another_program_says},
	{"count_what_never_was", count_what_never_was},
	{"leave_a_child_that_goes_on", leave_a_child_that_goes_on},
};

/* The worst that it can do is to end itself. */
static void who_breaks_the_rules_of_the_channel_is_killed(void **state)
{
	static const char *const crimes[] = {"talk_nonsense",
					     "talk_before_hello",
					     "talk_of_another_version",
					     "greet_twice",
					     "say_what_another_program_says",
					     "count_what_never_was"};
	struct cluster_world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(crimes); i++) {
		w->story[0] = '\0';
		cluster_world_start(w, crimes[i], NULL);
		cluster_world_fork(w);
		cluster_run_until(w, "exit 1");
		if (!strstr(w->story, "error 1, disconnect 1, exit 1 -1 9"))
			fail_msg("%s: %s", crimes[i], w->story);
		cluster_free(w->cluster);
		w->cluster = NULL;
	}
}

/* By then there is another one to receive. */
static void await_another(struct cluster_world *w, const char *event, struct cluster_worker *worker)
{
	char byte;

	if (strncmp(event, "message", 7) != 0)
		return;
	assert_true(wait_readable(w->listening.fd, WAIT_MS));
	assert_int_equal(read(w->listening.fd, &byte, 1), 1);
}

/* The end of a worker is told, however much those who have its channel still have to say. */
static void the_child_of_a_worker_cannot_hold_its_master(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_settings settings = {.has_stdio = true};
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	settings.stdio[0] = -1;
	settings.stdio[1] = pair[1];
	settings.stdio[2] = STDERR_FILENO;
	cluster_world_start(w, "leave_a_child_that_goes_on", &settings);
	kernel_await_end(cluster_worker_pid(cluster_world_fork(w)));
	w->listening.fd = pair[0];
	await_another(w, "message", NULL);
	w->react = await_another;
	cluster_run_until(w, "disconnect 1");
	assert_true(cluster_world_told(w, "message 1"));
	assert_non_null(strstr(w->story, "message 1 , exit 1 0 0, disconnect 1"));
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(who_breaks_the_rules_of_the_channel_is_killed),
		TEST(the_child_of_a_worker_cannot_hold_its_master),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(250);
	return cmocka_run_group_tests_name("cluster hostile", tests, NULL, NULL);
}
