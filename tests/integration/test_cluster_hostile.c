/* Workers of <usher/cluster.h> that break the rules of the channel. */
#include "tests/helpers/cluster_world.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ipc/messages.h"
#include "common/macros.h"
#include "tests/helpers/cluster_roles.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

#define CHANNEL 3

static void send_raw(enum ipc_type type, const void *body, const void *row)
{
	static alignas(uint32_t) char packet[IPC_PACKET_MAX];
	int size = ipc_encode(type, body, row, row != NULL, packet);

	if (size < 0 || send(CHANNEL, packet, (size_t)size, 0) != size)
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

static const struct cluster_role roles[] = {
	{"talk_nonsense", talk_nonsense},
	{"talk_before_hello", talk_before_hello},
	{"talk_of_another_version", talk_of_another_version},
	{"greet_twice", greet_twice},
	{"say_what_another_program_says", say_what_another_program_says},
	{"count_what_never_was", count_what_never_was},
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(who_breaks_the_rules_of_the_channel_is_killed),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(250);
	return cmocka_run_group_tests_name("cluster hostile", tests, NULL, NULL);
}
