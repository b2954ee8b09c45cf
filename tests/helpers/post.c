#include "tests/helpers/post.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fdpass.h"
#include "tests/helpers/fds.h"

/* --- events ---------------------------------------------------------------------------------- */

static void keep_socket(struct post_end *end, struct net_socket *s)
{
	if (end->guest_count > 0) {
		struct actor *actor = end->guests[--end->guest_count];

		actor->story = end->story;
		actor->socket = s;
		net_socket_set_ops(s, &actor_ops, actor);
		return;
	}
	assert_in_range(end->socket_count, 0, POST_SOCKETS - 1);
	end->sockets[end->socket_count++] = s;
	net_socket_hold(s);
}

static void on_message(struct mail *mail, const struct mail_message *m, void *ctx)
{
	struct post_end *end = ctx;

	free(end->data);
	end->data = malloc(m->size + 1);
	assert_non_null(end->data);
	memcpy(end->data, m->data, m->size);
	end->data[m->size] = '\0';
	end->size = m->size;
	end->messages++;
	assert_true(!m->socket || !m->server);
	if (m->socket)
		keep_socket(end, m->socket);
	if (m->server)
		end->server = m->server;
	if (!end->is_quiet)
		story_tell(end->story, "%s.message:%zu%s%s", end->name, m->size,
			   m->socket ? "+socket" : "", m->server ? "+server" : "");
	if (end->on_message)
		end->on_message(end, m);
}

static const char *status_name(int status)
{
	return status == 0 ? "0" : net_error_name(status);
}

static void on_error(struct mail *mail, int status, void *ctx)
{
	struct post_end *end = ctx;

	story_tell(end->story, "%s.error:%s", end->name, status_name(status));
}

static const struct mail_ops mail_ops = {.on_message = on_message, .on_error = on_error};

static void on_done(struct mail *mail, int status, void *ctx)
{
	struct post_end *end = ctx;

	end->dones++;
	end->status = status;
	if (status < 0) {
		end->failure = status;
		end->failures++;
	}
	if (!end->is_quiet)
		story_tell(end->story, "%s.done:%s", end->name, status_name(status));
	if (end->on_done)
		end->on_done(end);
}

static void lose(struct post_end *end, int error, const char *why)
{
	if (end->mail)
		mail_close(end->mail);
	end->is_lost = true;
	end->lost_why = why;
	story_tell(end->story, "%s.lost:%s", end->name, status_name(error));
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	lose(ctx, error, why);
}

static void on_channel(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct post_end *end = ctx;
	const char *why = NULL;
	int r;

	assert_true(mail_is_ours(message->type));
	if (!end->mail)
		return;
	r = mail_take(end->mail, message, &why);
	if (r < 0) {
		assert_non_null(why);
		channel_close(channel);
		lose(end, r, why);
	}
}

static const struct channel_ops channel_ops = {.on_message = on_channel, .on_lost = on_lost};

/* --- the ends -------------------------------------------------------------------------------- */

void post_end_open(struct post_end *end, struct story *story, const char *name, int fd,
		   enum ipc_side side)
{
	end->story = story;
	end->name = name;
	assert_int_equal(channel_open(&end->channel, story->loop, fd, side, &channel_ops, end), 0);
	assert_int_equal(mail_open(story->loop, &end->channel, &mail_ops, end, &end->mail), 0);
	mail_receive(end->mail, true);
}

void post_end_close(struct post_end *end)
{
	if (end->mail)
		mail_free(end->mail);
	end->mail = NULL;
	if (end->story)
		channel_close(&end->channel);
	for (size_t i = 0; i < end->socket_count; i++) {
		net_socket_destroy(end->sockets[i], 0);
		net_socket_release(end->sockets[i]);
	}
	end->socket_count = 0;
	net_server_free(end->server);
	end->server = NULL;
	free(end->data);
	end->data = NULL;
}

int post_set(void **state)
{
	struct post *post = calloc(1, sizeof(*post));
	void *stage = NULL;
	int fds[2];

	if (!post || stage_set(&stage) < 0 || channel_pair(fds) < 0)
		return -1;
	post->stage = stage;
	post->fds = open_fd_count() - 2;
	post->guest.name = "R";
	post->bare = -1;
	post_end_open(&post->a, &post->stage->story, "A", fds[0], IPC_SUPERVISOR);
	post_end_open(&post->b, &post->stage->story, "B", fds[1], IPC_WORKER);
	post->b.guests[0] = &post->guest;
	post->b.guest_count = 1;
	*state = post;
	return 0;
}

static void end_actor(struct actor *actor)
{
	memset(actor->on, 0, sizeof(actor->on));
	if (actor->socket)
		net_socket_destroy(actor->socket, 0);
}

int post_clear(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	void *stage_state = stage;

	end_actor(&post->guest);
	end_actor(&stage->client);
	end_actor(&stage->guest);
	for (size_t i = 0; i < ARRAY_LEN(stage->guests); i++)
		end_actor(&stage->guests[i]);
	post_end_close(&post->a);
	post_end_close(&post->b);
	close_fd(post->bare);
	net_server_free(stage->host.server);
	stage->host.server = NULL;
	story_run_ready(&stage->story);
	size_t fds = open_fd_count();
	bool leaked = fds != post->fds;
	if (leaked)
		print_error("%zu descriptors, and there were %zu\n", fds, post->fds);
	free(post);
	return stage_clear(&stage_state) < 0 || leaked ? -1 : 0;
}

/* --- a bare end ------------------------------------------------------------------------------ */

void post_go_bare(struct post *post)
{
	int fds[2];

	post_end_close(&post->a);
	post_end_close(&post->b);
	assert_int_equal(channel_pair(fds), 0);
	post->bare = fds[1];
	post_end_open(&post->a, &post->stage->story, "A", fds[0], IPC_SUPERVISOR);
}

void post_bare_send(struct post *post, enum ipc_type type, const void *body, const void *tail,
		    size_t tail_count, int fd)
{
	static char packet[IPC_PACKET_MAX];
	int size = ipc_encode(type, body, tail, tail_count, packet);
	struct iovec part = {packet, (size_t)size};

	assert_true(size > 0);
	assert_int_equal(fdpass_send(post->bare, &part, 1, &fd, fd >= 0), size);
}

bool post_bare_take(struct post *post, struct ipc_message *ret, int *ret_fd)
{
	static uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t)];
	const char *why;
	size_t n_fds = 0;
	ssize_t size;

	story_run_ready(&post->stage->story);
	*ret_fd = -1;
	size = fdpass_recv(post->bare, packet, sizeof(packet), ret_fd, 1, &n_fds);
	if (size <= 0)
		return false;
	assert_int_equal(ipc_decode(IPC_SUPERVISOR, packet, (size_t)size, n_fds, ret, &why), 0);
	return true;
}

/* Which of our descriptors a loop sleeps on: the only one of its kind. */
static int set_of_the_loop(void)
{
	char path[64], link[64];

	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t size = readlink(path, link, sizeof(link) - 1);

		link[size > 0 ? size : 0] = '\0';
		if (strcmp(link, "anon_inode:[eventpoll]") == 0)
			return fd;
	}
	fail();
	return -1;
}

size_t post_watched(const struct post *post)
{
	char path[64], line[256];
	size_t count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", set_of_the_loop());
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		count += memcmp(line, "tfd:", 4) == 0;
	fclose(file);
	return count;
}

void post_bare_take_handle(struct post *post, struct ipc_handle *ret, int *ret_fd)
{
	struct ipc_message m;

	assert_true(post_bare_take(post, &m, ret_fd));
	assert_int_equal(m.type, IPC_HANDLE);
	assert_true(*ret_fd >= 0);
	*ret = *(const struct ipc_handle *)m.body;
}

void post_bare_answer(struct post *post, uint32_t number, int status)
{
	const struct ipc_answered body = {number, (uint32_t)status};

	post_bare_send(post, IPC_ANSWERED, &body, NULL, 0, -1);
}

/* --- what they send -------------------------------------------------------------------------- */

int post_send(struct post_end *end, const void *data, size_t size, const struct mail_handle *handle)
{
	return mail_send(end->mail, data, size, handle, on_done, end);
}

int post_text(struct post_end *end, const char *text)
{
	return post_send(end, text, strlen(text), NULL);
}

int post_socket(struct post_end *end, const char *text, struct net_socket *s)
{
	const struct mail_handle handle = {.socket = s};

	return post_send(end, text, strlen(text), &handle);
}

int post_actor(struct post_end *end, const char *text, struct actor *actor)
{
	struct net_socket *s = actor->socket;

	assert_non_null(s);
	actor->socket = NULL;
	return post_socket(end, text, s);
}

struct goal {
	const size_t *count;
	size_t wanted;
};

static bool is_reached(void *ctx)
{
	const struct goal *goal = ctx;

	return *goal->count >= goal->wanted;
}

void post_run_messages(struct post_end *end, size_t count)
{
	struct goal goal = {&end->messages, count};

	story_run_for(end->story, is_reached, &goal);
	assert_int_equal(end->messages, count);
}

void post_run_dones(struct post_end *end, size_t count)
{
	struct goal goal = {&end->dones, count};

	story_run_for(end->story, is_reached, &goal);
	assert_int_equal(end->dones, count);
}

void post_pass_guest(struct post *post)
{
	size_t messages = post->b.messages, dones = post->a.dones;

	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	post_run_messages(&post->b, messages + 1);
	post_run_dones(&post->a, dones + 1);
	assert_non_null(post->guest.socket);
	story_forget(&post->stage->story);
}
