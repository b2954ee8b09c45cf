/* What a worker is told of the socket that it asked for, and when that is nobody's again: the
 * shares and the channel are real, the worker is the test. */
#include <errno.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cluster/shares.h"
#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/fds.h"

#define HOST "127.0.0.1"

struct fixture {
	struct ev_loop *loop;
	struct shares shares;
	struct channel channel;
	struct holder holder;
	int theirs;
	uint32_t requests;
	size_t unreachable;
	size_t fds;
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
};

static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	return SHARE_BY_ANYBODY;
}

static void on_unreachable(struct holder *holder, int error, void *ctx)
{
	struct fixture *f = ctx;

	f->unreachable++;
}

static const struct shares_ops shares_ops = {.permit = permit, .on_unreachable = on_unreachable};
static const struct channel_ops channel_ops;

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	assert_non_null(f);
	f->loop = ev_loop_new(EVFLAG_AUTO);
	f->fds = open_fd_count();
	assert_int_equal(channel_pair(pair), 0);
	f->theirs = pair[1];
	assert_int_equal(
		channel_open(&f->channel, f->loop, pair[0], IPC_SUPERVISOR, &channel_ops, f), 0);
	shares_init(&f->shares, f->loop, NULL, &shares_ops, f);
	holder_init(&f->holder, &f->shares, &f->channel, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	shares_end(&f->holder);
	shares_done(&f->shares);
	channel_close(&f->channel);
	close_fd(f->theirs);
	bool leaked = open_fd_count() != f->fds;
	ev_loop_destroy(f->loop);
	free(f);
	return leaked ? -1 : 0;
}

/* For a port of the system's choice. */
static int ask(struct fixture *f)
{
	const struct ipc_listen body = {
		.request = ++f->requests, .kind = IPC_LISTEN_PORT, .backlog = 5};
	const struct ipc_message message = {
		.type = IPC_LISTEN, .body = &body, .tail = HOST, .tail_count = strlen(HOST)};

	return shares_listen(&f->holder, &message);
}

static void unlisten(struct fixture *f, bool answered)
{
	const struct ipc_unlisten body = {.request = f->requests, .answered = answered};
	const struct ipc_message message = {.type = IPC_UNLISTEN, .body = &body};

	assert_int_equal(shares_unlisten(&f->holder, &message), 0);
}

/* The next message of a type, with a descriptor that is closed; others before it are dropped.
 * Returns whether there was one. */
static bool hear(struct fixture *f, enum ipc_type type, struct ipc_message *ret)
{
	AUTO_CLOSE int fd = -1;
	const char *why;
	size_t n_fds;
	ssize_t size;

	while ((size = fdpass_recv(f->theirs, f->packet, sizeof(f->packet), &fd, 1, &n_fds)) > 0) {
		int error = ipc_decode(IPC_SUPERVISOR, f->packet, (size_t)size, n_fds, ret, &why);

		close_fd(take_fd(&fd));
		if (error == 0 && ret->type == type)
			return true;
		ev_run(f->loop, EVRUN_NOWAIT);
	}
	return false;
}

static bool is_open(const struct fixture *f)
{
	const struct share *share = LIST_FIRST(&f->shares.list);

	return share && share->bound.fd >= 0;
}

/* Bound anew, the address would be in use. */
static void what_is_on_its_way_to_who_gave_it_up_stays_open(void **state)
{
	struct ipc_message message;
	struct fixture *f = *state;

	assert_int_equal(ask(f), 0);
	unlisten(f, false);
	assert_true(is_open(f));
	assert_true(hear(f, IPC_LISTENED, &message));
	unlisten(f, true);
	assert_true(LIST_EMPTY(&f->shares.list));
}

/* LS-8 */
static void what_came_and_was_of_no_use_is_nobodys_again(void **state)
{
	struct ipc_message message;
	struct fixture *f = *state;

	assert_int_equal(ask(f), 0);
	assert_true(hear(f, IPC_LISTENED, &message));
	unlisten(f, true);
	assert_true(LIST_EMPTY(&f->shares.list));
}

static void fill(struct fixture *f)
{
	const struct ipc_count count = {.request = 1};

	while (channel_is_drained(&f->channel))
		assert_int_equal(channel_send(&f->channel, IPC_COUNT, &count, NULL, 0, NULL), 0);
}

/* A child that can open the socket, and have no copy of it to wait in the queue. */
static int ask_and_hear(void *arg)
{
	const struct ipc_not_listened *answer;
	struct ipc_message message;
	struct fixture *f = arg;

	if (ask(f) != 0 || f->unreachable > 0)
		return 1;
	if (!hear(f, IPC_NOT_LISTENED, &message))
		return 2;
	answer = message.body;
	if ((int)answer->error != -EMFILE || answer->request != f->requests)
		return 3;
	return LIST_EMPTY(&f->shares.list) ? 0 : 4;
}

/* A shortage here is no reason to end it. */
static void who_cannot_be_sent_a_socket_hears_why(void **state)
{
	struct fixture *f = *state;

	fill(f);
	assert_int_equal(run_with_fd_limit(1, ask_and_hear, f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(what_is_on_its_way_to_who_gave_it_up_stays_open),
		TEST(what_came_and_was_of_no_use_is_nobodys_again),
		TEST(who_cannot_be_sent_a_socket_hears_why),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("share_answer", tests, NULL, NULL);
}
