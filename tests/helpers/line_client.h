/* A client on the test's own loop that sends what it is told and keeps all that comes back. */
#ifndef USHER_TESTS_HELPERS_LINE_CLIENT_H
#define USHER_TESTS_HELPERS_LINE_CLIENT_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#define LINE_CLIENT_SIZE 8192

struct line_client {
	struct ev_loop *loop;
	int fd;
	ev_io io;
	char text[LINE_CLIENT_SIZE]; /* ends with a zero */
	size_t size;
	bool ended; /* the other side closed */
};

/* Takes over fd, which becomes non-blocking. */
void line_client_init(struct line_client *client, struct ev_loop *loop, int fd);

/* Connects to the Unix socket at path, or fails the test. */
void line_client_connect(struct line_client *client, struct ev_loop *loop, const char *path);

/* Fails the test unless the kernel takes it all at once. */
void line_client_send(struct line_client *client, const void *bytes, size_t size);

/* Runs the loop until the other side has closed. */
void line_client_wait(struct line_client *client);

void line_client_done(struct line_client *client);

#endif
