/* Who waits until another process has none of its sockets is told so, though there was no memory
 * to tell it when the last of them ended.
 *
 * wrap: malloc sendmsg */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/post.h"
#include "tests/helpers/wait.h"

#define KEY 5

static bool memory_refused;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

void *__wrap_malloc(size_t size)
{
	return memory_refused ? NULL : __real_malloc(size);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (!memory_refused)
		return __real_sendmsg(fd, message, flags);
	errno = ENOBUFS;
	return -1;
}

/* A has the socket, which a server of the bare end's counts. Returns its peer. */
static int send_socket(struct post *post)
{
	const struct ipc_handle head = {.number = 1, .kind = IPC_HANDLE_SOCKET, .key = {KEY}};
	const struct ipc_handle_row row = {0};
	const struct ipc_mail piece = {.number = 1, .size = 1};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	post_bare_send(post, IPC_HANDLE, &head, &row, 1, pair[0]);
	close_fd(pair[0]);
	post_bare_send(post, IPC_MAIL, &piece, "x", 1, -1);
	post_run_messages(&post->a, 1);
	return pair[1];
}

static void hear_all(struct post *post)
{
	struct ipc_message m;
	int fd;

	while (post_bare_take(post, &m, &fd))
		assert_int_not_equal(m.type, IPC_SOCKETS_CLOSED);
}

/* GC-4 */
static void the_end_of_the_last_one_is_told_when_there_is_memory(void **state)
{
	const struct ipc_sockets question = {.request = 7, .key = {KEY}};
	struct post *post = *state;
	struct ipc_message m;
	int peer, fd;

	post_go_bare(post);
	peer = send_socket(post);
	post_bare_send(post, IPC_SOCKETS_CLOSE, &question, NULL, 0, -1);
	hear_all(post);
	memory_refused = true;
	net_socket_destroy(post->a.sockets[0], 0);
	story_run_ready(&post->stage->story);
	memory_refused = false;
	while (!post_bare_take(post, &m, &fd))
		ev_run(post->stage->story.loop, EVRUN_ONCE);
	assert_int_equal(m.type, IPC_SOCKETS_CLOSED);
	assert_int_equal(((const struct ipc_sockets_closed *)m.body)->request, question.request);
	close_fd(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_post(the_end_of_the_last_one_is_told_when_there_is_memory),
	};

	watchdog(60);
	return cmocka_run_group_tests_name("tracking nomem", tests, NULL, NULL);
}
