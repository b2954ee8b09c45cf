/* What a worker logs of a listener has the name that the configuration gave it. */
#include "tests/helpers/play.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "worker/service.h"

/* Announced under that name, which has a connection that it has no room for. */
static void lose_one(struct play *p, const char *name, char ret_log[PLAY_LOG_SIZE])
{
	const struct ipc_adopt adopt = {.listener = PLAY_LISTENER,
					.handler = HANDLER_ECHO,
					.name_size = (uint32_t)strlen(name)};

	play_say(p, IPC_ADOPT, &adopt, name, strlen(name), NULL);
	play_run_ready(p);
	assert_int_equal(p->worker.status, 0);
	net_server_set_max_connections(LIST_FIRST(&p->worker.services)->server, 0);
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	play_run_logged(p, ret_log);
}

/* Who reads it knows the name of the configuration, and no number. */
static void a_lost_connection_is_told_with_the_listeners_name(void **state)
{
	char log[PLAY_LOG_SIZE];

	lose_one(*state, "web", log);
	play_expect_logged(log, "listener \"web\": a connection is lost: ");
}

static void a_name_may_have_the_longest_length(void **state)
{
	char name[IPC_LISTENER_NAME_MAX + 1] = "", log[PLAY_LOG_SIZE], expected[PLAY_LOG_SIZE];

	memset(name, 'n', IPC_LISTENER_NAME_MAX);
	lose_one(*state, name, log);
	snprintf(expected, sizeof(expected), "listener \"%s\": ", name);
	play_expect_logged(log, expected);
}

static void a_name_beyond_that_ends_the_worker(void **state)
{
	const struct ipc_adopt adopt = {.listener = PLAY_LISTENER,
					.handler = HANDLER_REPLY,
					.name_size = IPC_LISTENER_NAME_MAX + 1};
	char tail[IPC_LISTENER_NAME_MAX + 2];
	struct play *p = *state;

	memset(tail, 'n', sizeof(tail));
	play_say(p, IPC_ADOPT, &adopt, tail, sizeof(tail), NULL);
	play_run_ready(p);
	assert_int_not_equal(p->worker.status, 0);
	assert_true(LIST_EMPTY(&p->worker.services));
}

static void a_listener_without_a_name_is_told_by_its_number(void **state)
{
	char log[PLAY_LOG_SIZE], expected[64];

	lose_one(*state, "", log);
	snprintf(expected, sizeof(expected), "listener %d: a connection is lost: ", PLAY_LISTENER);
	play_expect_logged(log, expected);
}

/* Nobody has given it a name. */
static void what_a_program_listens_on_is_told_by_its_address(void **state)
{
	const struct ipc_listened_apart answer = {.request = 1, .listener = IPC_SHARE_FIRST + 1};
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(4711),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ipc_peer row = {.size = sizeof(address)};
	struct play *p = *state;
	struct net_server *server;
	char log[PLAY_LOG_SIZE];

	memcpy(row.address, &address, sizeof(address));
	assert_int_equal(net_create_server(p->loop, NULL, NULL, NULL, &server), 0);
	assert_int_equal(net_server_listen_port(server, 4711, "127.0.0.1", 0, NULL, NULL), 0);
	play_run_ready(p);
	play_say(p, IPC_LISTENED_APART, &answer, &row, 1, NULL);
	play_run_ready(p);
	AUTO_CLOSE int client = play_hand_off(p, answer.listener);
	play_run_logged(p, log);
	play_expect_logged(log, "listener 127.0.0.1:4711: a connection is lost: ");
	net_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY_TEST(a_lost_connection_is_told_with_the_listeners_name),
		PLAY_TEST(a_name_may_have_the_longest_length),
		PLAY_TEST(a_name_beyond_that_ends_the_worker),
		PLAY_TEST(a_listener_without_a_name_is_told_by_its_number),
		PLAY_TEST(what_a_program_listens_on_is_told_by_its_address),
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker names", tests, NULL, NULL);
}
