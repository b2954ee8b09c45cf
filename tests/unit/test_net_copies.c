/* Descriptors that another process may have a copy of: what closing them is taken to do.
 * wrap: shutdown */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "common/net/transfer.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"

/* Knows what the test says of every descriptor. */
struct keeping {
	bool copied;
	bool sent;   /* S, to another process, which the keeper does not know of */
	int closing; /* descriptors that were about to be closed */
	bool was_open;
	bool ended;
};

static size_t shutdowns;

int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);

int __wrap_shutdown(int fd, int how)
{
	shutdowns++;
	return __real_shutdown(fd, how);
}

static bool has(void *ctx, int fd)
{
	return ((struct keeping *)ctx)->copied;
}

static bool closing(void *ctx, int fd, bool ended)
{
	struct keeping *k = ctx;

	k->closing++;
	k->was_open = fcntl(fd, F_GETFD) != -1;
	k->ended = ended;
	return k->copied;
}

static const struct copy_keeper keeper = {.has = has, .closing = closing};

/* C is a plain descriptor; S ends when it does. Returns how often S was shut down. */
static size_t shutdowns_of_an_end(struct stage *stage, struct keeping *k, bool host_first)
{
	char byte;

	stage_open(stage, NULL);
	int fd = stage_plain(stage);
	struct net_context *context = stage->guest.socket->context;

	context_hold(context);
	context_set_copy_keeper(context, k ? &keeper : NULL, k);
	if (k && k->sent)
		transfer_share_socket(stage->guest.socket);
	shutdowns = 0;
	if (host_first)
		net_socket_end(stage->guest.socket, NULL, 0, NULL, NULL);
	else
		assert_int_equal(__real_shutdown(fd, SHUT_WR), 0);
	story_run_until(&stage->story, host_first ? "S.finish" : "S.close");
	assert_int_equal(plain_receive(fd, &byte, 1), 0);
	close(fd);
	story_run_until(&stage->story, "S.close");
	context_set_copy_keeper(context, NULL, NULL);
	context_put(context);
	return shutdowns;
}

/* Any process may have one. */
static void without_a_keeper_an_end_is_said(void **state)
{
	assert_int_equal(shutdowns_of_an_end(*state, NULL, false), 1);
}

/* KF-2 */
static void with_a_copy_elsewhere_an_end_is_said(void **state)
{
	struct keeping k = {.copied = true};

	assert_int_equal(shutdowns_of_an_end(*state, &k, false), 1);
	assert_int_equal(k.closing, 1);
	assert_true(k.was_open);
	assert_true(k.ended);
}

/* The peer waits for an end that only the last close brings. */
static void a_destroyed_one_has_not_ended(void **state)
{
	struct stage *stage = *state;
	struct keeping k = {.copied = true};

	stage_connected(stage);
	struct net_context *context = stage->guest.socket->context;
	context_hold(context);
	context_set_copy_keeper(context, &keeper, &k);
	net_socket_end(stage->guest.socket, NULL, 0, NULL, NULL);
	net_socket_destroy(stage->guest.socket, 0);
	assert_int_equal(k.closing, 1);
	assert_false(k.ended);
	context_set_copy_keeper(context, NULL, NULL);
	context_put(context);
}

/* IP-6 */
static void what_was_sent_and_kept_says_its_end(void **state)
{
	struct keeping k = {.sent = true};

	assert_int_equal(shutdowns_of_an_end(*state, &k, false), 1);
}

/* EN-3: the peer sees no difference, and neither do those who are told. */
static void without_one_the_close_says_it(void **state)
{
	struct stage *stage = *state;
	struct keeping k = {0};

	assert_int_equal(shutdowns_of_an_end(stage, &k, false), 0);
	assert_int_equal(k.closing, 1);
	assert_true(story_in_order(&stage->story, "S.end", "S.finish"));
	assert_true(story_in_order(&stage->story, "S.finish", "S.close"));
}

/* EN-1: the peer may still have something to say. */
static void who_ends_first_says_so_in_any_case(void **state)
{
	struct keeping k = {0};

	assert_int_equal(shutdowns_of_an_end(*state, &k, true), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(without_a_keeper_an_end_is_said),
		on_stage(with_a_copy_elsewhere_an_end_is_said),
		on_stage(a_destroyed_one_has_not_ended),
		on_stage(what_was_sent_and_kept_says_its_end),
		on_stage(without_one_the_close_says_it),
		on_stage(who_ends_first_says_so_in_any_case),
	};

	alarm(60);
	return cmocka_run_group_tests_name("net_copies", tests, NULL, NULL);
}
