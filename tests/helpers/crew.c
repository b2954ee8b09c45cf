#include "tests/helpers/crew.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define MEANWHILE_MS 2

void crew_open(struct crew *crew, const char *folder)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*crew = (struct crew){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	snprintf(crew->path, sizeof(crew->path), "%s/crew", folder);
	snprintf(crew->variable, sizeof(crew->variable), "CREW=%s", crew->path);
	strcpy(address.sun_path, crew->path);
	assert_int_equal(bind(crew->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(crew->path, 0777), 0);
	assert_int_equal(listen(crew->fd, CREW_MAX), 0);
}

void crew_done(struct crew *crew)
{
	close_fd(crew->fd);
	for (size_t i = 0; i < crew->count; i++)
		close_fd(crew->mates[i].fd);
	unlink(crew->path);
}

/* Returns whether there is something to read. */
static bool await(const struct crew *crew, int fd, int64_t deadline)
{
	if (!crew->meanwhile)
		return wait_readable(fd, left_ms(deadline));
	while (left_ms(deadline) > 0) {
		crew->meanwhile(crew->ctx);
		if (wait_readable(fd, MEANWHILE_MS))
			return true;
	}
	return false;
}

void crew_await(struct crew *crew, size_t more)
{
	int64_t deadline = now_ms() + WAIT_MS;

	for (size_t i = 0; i < more; i++) {
		struct mate *mate = &crew->mates[crew->count];

		assert_true(crew->count < CREW_MAX);
		assert_true(await(crew, crew->fd, deadline));
		mate->size = 0;
		mate->fd = accept4(crew->fd, NULL, NULL, SOCK_CLOEXEC);
		assert_true(mate->fd >= 0);
		mate->pid = (pid_t)strtol(crew_hear(crew, crew->count++, "hello "), NULL, 10);
	}
}

void crew_say(struct crew *crew, size_t mate, const char *format, ...)
{
	char line[8192];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	line[size++] = '\n';
	assert_int_equal(send(crew->mates[mate].fd, line, (size_t)size, MSG_NOSIGNAL), size);
}

/* Moves the first line into line; returns whether there was one. */
static bool next_line(struct mate *mate, char *line, size_t size)
{
	char *newline = memchr(mate->text, '\n', mate->size);

	if (!newline)
		return false;
	*newline++ = '\0';
	snprintf(line, size, "%s", mate->text);
	mate->size -= (size_t)(newline - mate->text);
	memmove(mate->text, newline, mate->size);
	return true;
}

const char *crew_hear(struct crew *crew, size_t index, const char *beginning)
{
	static char line[8192], others[8192];
	struct mate *mate = &crew->mates[index];
	int64_t deadline = now_ms() + WAIT_MS;

	others[0] = '\0';
	for (;;) {
		while (next_line(mate, line, sizeof(line))) {
			if (strncmp(line, beginning, strlen(beginning)) == 0)
				return line + strlen(beginning);
			if (strlen(others) + strlen(line) + 2 < sizeof(others))
				strcat(strcat(others, line), "\n");
		}
		if (!await(crew, mate->fd, deadline))
			fail_msg("worker %zu did not say \"%s\" but:\n%s", index, beginning,
				 others);
		ssize_t n = recv(mate->fd, mate->text + mate->size, sizeof(mate->text) - mate->size,
				 0);
		if (n <= 0)
			fail_msg("worker %zu has gone and did not say \"%s\" but:\n%s", index,
				 beginning, others);
		mate->size += (size_t)n;
	}
}

void crew_close_server(struct crew *crew, size_t mate, const char *name)
{
	char closed[64];

	snprintf(closed, sizeof(closed), "%s closed", name);
	crew_say(crew, mate, "close %s", name);
	crew_hear(crew, mate, closed);
}

int crew_port(const char *address)
{
	const char *colon = strrchr(address, ':');

	assert_non_null(colon);
	return (int)strtol(colon + 1, NULL, 10);
}

void crew_expect_gone(struct crew *crew, size_t index)
{
	struct mate *mate = &crew->mates[index];
	int64_t deadline = now_ms() + WAIT_MS;
	char rest[1024];

	do
		assert_true(await(crew, mate->fd, deadline));
	while (recv(mate->fd, rest, sizeof(rest), 0) > 0);
	close_fd(take_fd(&mate->fd));
}

void crew_kill(struct crew *crew, size_t index)
{
	kernel_kill(crew->mates[index].pid);
	crew_expect_gone(crew, index);
}
