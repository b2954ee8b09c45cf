#include "tests/helpers/listen_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

struct crew crew;

int listen_setup(void **state)
{
	int r = usher_setup(state);
	struct usher *u = *state;

	if (r == 0)
		crew_open(&crew, u->folder);
	return r;
}

int listen_teardown(void **state)
{
	crew_done(&crew);
	return usher_teardown(state);
}

void listen_start(struct usher *u, unsigned int workers, const char *settings)
{
	/* For a second start as well. */
	static const char *env[] = {crew.variable, NULL};
	static const char *args[] = {"--worker", NULL, NULL};
	static char program[PATH_MAX];

	args[1] = built("tests/helpers/fake_listener", program);
	u->env = env;
	u->args = args;
	usher_configure(u,
			"workers: %u\n%s"
			"listeners:\n"
			"  - {name: mine, path: %s, handler: echo}\n",
			workers, settings, usher_path(u, "mine"));
	usher_start(u);
	crew_await(&crew, workers);
}

int listen_heard(size_t mate, const char *name)
{
	char beginning[64];

	snprintf(beginning, sizeof(beginning), "%s listening ", name);
	return crew_port(crew_hear(&crew, mate, beginning));
}

int listen_any(size_t mate, const char *name)
{
	crew_say(&crew, mate, "listen %s port 127.0.0.1 0", name);
	return listen_heard(mate, name);
}

int listen_free_port(size_t mate)
{
	crew_say(&crew, mate, "listen probe port 127.0.0.1 0 exclusive");
	int port = listen_heard(mate, "probe");

	listen_close(mate, "probe");
	return port;
}

void listen_on(size_t mate, const char *name, int port)
{
	crew_say(&crew, mate, "listen %s port 127.0.0.1 %d", name, port);
	assert_int_equal(listen_heard(mate, name), port);
}

void listen_close(size_t mate, const char *name)
{
	crew_close_server(&crew, mate, name);
}

void listen_expect_error(size_t mate, const char *name, const char *error)
{
	char beginning[192];

	snprintf(beginning, sizeof(beginning), "%s error %s", name, error);
	crew_hear(&crew, mate, beginning);
}

void listen_expect_refused(int port)
{
	kernel_await_no_listener(port);
	expect_tcp_refused("127.0.0.1", port);
}

pid_t listen_greeter(int fd)
{
	char text[16];
	ssize_t n;

	assert_true(wait_readable(fd, WAIT_MS));
	n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

void listen_expect_greeting(const char *host, int port)
{
	AUTO_CLOSE int fd = connect_tcp(host, port);

	assert_true(listen_greeter(fd) > 0);
}

const char *listen_room(const struct usher *u)
{
	const char *path = usher_path(u, "room");

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	return path;
}
