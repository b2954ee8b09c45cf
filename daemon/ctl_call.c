#include "daemon/ctl_call.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "common/macros.h"
#include "daemon/control.h"

#define FIRST_SIZE 4096

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Lets the next call that waits do so until the deadline at most. */
static int limit_wait(int fd, int option, int64_t deadline_us)
{
	int64_t left = deadline_us - now_us();
	struct timeval limit = {.tv_sec = left / 1000000, .tv_usec = left % 1000000};

	if (left <= 0)
		return -ETIMEDOUT;
	return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit)) == -1 ? -errno : 0;
}

/* How such a call says that its time was over. */
static int wait_error(void)
{
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static int connect_to(const char *path, int fd, int64_t deadline_us)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int r;

	if (length >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, length);

	/* When the queue of the listener is full, this waits as sending does. */
	do {
		r = limit_wait(fd, SO_SNDTIMEO, deadline_us);
		if (r < 0)
			return r;
		r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
	} while (r == -1 && errno == EINTR);
	return r == -1 ? wait_error() : 0;
}

static int send_all(int fd, const char *text, size_t size, int64_t deadline_us)
{
	while (size > 0) {
		int r = limit_wait(fd, SO_SNDTIMEO, deadline_us);
		ssize_t sent;

		if (r < 0)
			return r;
		sent = send(fd, text, size, MSG_NOSIGNAL);
		if (sent == -1 && errno == EPIPE)
			return 0; /* refused before it was whole: the answer says why */
		if (sent == -1 && errno != EINTR)
			return wait_error();
		if (sent > 0) {
			text += sent;
			size -= (size_t)sent;
		}
	}
	return 0;
}

static int send_request(int fd, const json_t *request, int64_t deadline_us)
{
	AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	size_t length;

	if (!line)
		return -ENOMEM;

	length = strlen(line);
	line[length] = '\n'; /* the zero is not needed any more */
	return send_all(fd, line, length + 1, deadline_us);
}

/* Makes room for more; the answer's limit counts its line feed. */
static int grow(char **line, size_t *size)
{
	size_t larger = *size ? *size * 2 : FIRST_SIZE;
	char *grown;

	if (*size == CONTROL_ANSWER_SIZE)
		return -EPROTO;
	if (larger > CONTROL_ANSWER_SIZE)
		larger = CONTROL_ANSWER_SIZE;

	grown = realloc(*line, larger);
	if (!grown)
		return -ENOMEM;
	*line = grown;
	*size = larger;
	return 0;
}

/* One receipt into the room that is left. Returns the number of bytes, 0 for none this time. */
static ssize_t receive_some(int fd, char *room, size_t size, int64_t deadline_us)
{
	int r = limit_wait(fd, SO_RCVTIMEO, deadline_us);
	ssize_t got;

	if (r < 0)
		return r;
	got = recv(fd, room, size, 0);
	if (got == 0)
		return -ECONNRESET; /* the end, and no line feed yet */
	if (got == -1)
		return errno == EINTR ? 0 : wait_error();
	return got;
}

static int receive_line(int fd, char **line, int64_t deadline_us)
{
	size_t used = 0, size = 0;

	for (;;) {
		char *feed;
		ssize_t got;
		int r = used == size ? grow(line, &size) : 0;

		if (r < 0)
			return r;
		got = receive_some(fd, *line + used, size - used, deadline_us);
		if (got < 0)
			return got == -ECONNRESET && used > 0 ? -EPROTO : (int)got;

		feed = memchr(*line + used, '\n', (size_t)got);
		if (feed) {
			*feed = '\0';
			return 0;
		}
		used += (size_t)got;
	}
}

int ctl_call(const char *path, const json_t *request, unsigned int timeout_ms, char **ret_line)
{
	int64_t deadline_us = now_us() + (int64_t)timeout_ms * 1000;
	AUTO_CLOSE int fd = -1;
	char *line = NULL;
	int r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -errno;

	r = connect_to(path, fd, deadline_us);
	if (r < 0)
		return r;
	r = send_request(fd, request, deadline_us);
	if (r < 0)
		return r;
	r = receive_line(fd, &line, deadline_us);
	if (r < 0) {
		free(line);
		return r;
	}
	*ret_line = line;
	return 0;
}
