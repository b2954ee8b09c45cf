/* What the worker's handler of that name does where all does not go well. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/helpers/stage.h"
#include "worker/handlers/handler.h"

/* wrap: malloc send */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);

static bool no_memory;

void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

/* The kernel's buffer is full, too. */
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags)
{
	if (!no_memory)
		return __real_send(fd, data, size, flags);
	errno = EAGAIN;
	return -1;
}

static void echo(struct host *host)
{
	echo_handler.on_connection(host->latest, NULL);
}

/* What the kernel does not take cannot be kept: who gets an echo with a hole in it could not tell.
 */
static void without_memory_the_connection_ends(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_count = 0;
	stage->host.on[ON_CONNECTION] = echo;
	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	story_run_until(&stage->story, "H.connection");
	net_socket_write(stage->client.socket, "lost", 4, NULL, NULL);

	no_memory = true;
	story_run_until(&stage->story, "C.end");
	no_memory = false;
	assert_false(story_has(&stage->story, "C.data:4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(without_memory_the_connection_ends),
	};

	return cmocka_run_group_tests_name("echo", tests, NULL, NULL);
}
