/* An exchange in which one allocation fails, each in turn: what was accepted is answered once, both
 * ends go on or are closed, and nothing is left.
 *
 * wrap: malloc calloc strdup */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/cluster/mail.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"

#define ALLOCATIONS_MAX 200

static size_t allocations; /* since the beginning */
static size_t fails_at;    /* 0: none does */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool fails(void)
{
	return ++allocations == fails_at;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

struct end {
	struct channel channel;
	struct mail *mail;
	size_t owed;
	size_t counts;
	size_t messages;
	bool is_lost;
};

static void on_message(struct mail *mail, const struct mail_message *m, void *ctx)
{
	struct end *end = ctx;

	end->messages++;
	if (m->socket)
		net_socket_destroy(m->socket, 0);
	net_server_free(m->server);
}

static const struct mail_ops mail_ops = {.on_message = on_message};

static void on_channel(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct end *end = ctx;
	const char *why = NULL;

	if (!end->mail || mail_take(end->mail, message, &why) == 0)
		return;
	assert_non_null(why);
	end->is_lost = true;
	channel_close(channel);
	mail_close(end->mail);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct end *end = ctx;

	end->is_lost = true;
	if (end->mail)
		mail_close(end->mail);
}

static const struct channel_ops channel_ops = {.on_message = on_channel, .on_lost = on_lost};

static void on_done(struct mail *mail, int status, void *ctx)
{
	struct end *end = ctx;

	assert_true(end->owed > 0);
	end->owed--;
}

static void on_counted(struct net_server *server, int status, size_t count, void *ctx)
{
	struct end *end = ctx;

	assert_true(end->counts > 0);
	end->counts--;
}

static void send_one(struct end *end, size_t size, const struct mail_handle *handle)
{
	static const char bytes[100000];

	end->owed++;
	if (mail_send(end->mail, bytes, size, handle, on_done, end) < 0)
		end->owed--;
}

static bool is_over(void *ctx)
{
	struct end *ends = ctx;

	return ends[0].owed == 0 && ends[0].counts == 0 && ends[1].owed == 0;
}

static void open_end(struct stage *stage, struct end *end, int fd, enum ipc_side side)
{
	*end = (struct end){0};
	assert_int_equal(
		channel_open(&end->channel, stage->story.loop, fd, side, &channel_ops, end), 0);
	if (mail_open(stage->story.loop, &end->channel, &mail_ops, end, &end->mail) < 0)
		end->mail = NULL;
	else
		mail_receive(end->mail, true);
}

/* A connection of the host's, with bytes that were put back, and a message with it. */
static void exchange(struct stage *stage, struct end ends[2])
{
	struct net_socket *s = stage->guest.socket;
	struct mail_handle socket = {.socket = s}, server = {.server = stage->host.server};

	net_socket_unshift(s, "unread", 6);
	net_socket_hold(s);
	stage->guest.socket = NULL;
	send_one(&ends[0], 5, &socket);
	send_one(&ends[0], 100000, NULL);
	send_one(&ends[0], 5, &server);
	send_one(&ends[1], 5, NULL);
	for (int i = 0; i < 2; i++) {
		ends[0].counts++;
		if (net_server_get_connections(stage->host.server, on_counted, &ends[0]) < 0)
			ends[0].counts--;
		story_run_ready(&stage->story);
	}
	story_run_for(&stage->story, is_over, ends);
	net_socket_destroy(s, 0);
	net_socket_release(s);
}

static void close_end(struct end *end)
{
	channel_close(&end->channel);
	mail_free(end->mail);
}

/* Returns whether the allocation that was to fail was reached. */
static bool run(struct stage *stage, size_t number)
{
	struct end ends[2];
	int fds[2];

	stage->guest = (struct actor){.name = "S"};
	stage->client = (struct actor){.name = "C"};
	stage_connect(stage, NULL);
	assert_int_equal(channel_pair(fds), 0);
	allocations = 0;
	fails_at = number;
	open_end(stage, &ends[0], fds[0], IPC_SUPERVISOR);
	open_end(stage, &ends[1], fds[1], IPC_WORKER);
	if (ends[0].mail && ends[1].mail)
		exchange(stage, ends);
	bool reached = allocations >= number;
	fails_at = 0;
	close_end(&ends[0]);
	close_end(&ends[1]);
	if (stage->guest.socket)
		net_socket_destroy(stage->guest.socket, 0);
	if (stage->client.socket)
		net_socket_destroy(stage->client.socket, 0);
	story_run_ready(&stage->story);
	story_forget(&stage->story);
	stage->guest.socket = stage->client.socket = NULL;
	return reached;
}

static void every_allocation_may_fail(void **state)
{
	struct stage *stage = *state;
	size_t before, number = 1;

	stage_open(stage, NULL);
	run(stage, SIZE_MAX);
	before = open_fd_count();
	while (run(stage, number)) {
		assert_int_equal(open_fd_count(), before);
		assert_true(++number < ALLOCATIONS_MAX);
	}
	assert_true(number > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("mail_nomem", tests, NULL, NULL);
}
