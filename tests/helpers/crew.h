/* Workers that do what a test says: several fake_listener programs, and their words.
 *
 * Owns:   the socket that they come to, and the connections.
 * Errors: what does not come in time fails the test through cmocka, with what came instead.
 * Source: tests/helpers/fake_listener.c has the words. */
#ifndef USHER_TESTS_HELPERS_CREW_H
#define USHER_TESTS_HELPERS_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/macros.h"

#define CREW_MAX 8

struct mate {
	int fd; /* -1: it has gone */
	pid_t pid;
	char text[16384]; /* came, and was not yet looked at */
	size_t size;
};

struct crew {
	char path[108];
	char variable[128]; /* CREW=PATH, for its environment */
	int fd;
	struct mate mates[CREW_MAX];
	size_t count;
	/* While it waits: called again and again, for a test that must see to something meanwhile.
	 * NULL: just waits. */
	void (*meanwhile)(void *ctx);
	void *ctx;
};

/* A socket in that folder, for workers of any user. */
void crew_open(struct crew *crew, const char *folder);
void crew_done(struct crew *crew);

/* Waits until so many more have come. */
void crew_await(struct crew *crew, size_t more);

void crew_say(struct crew *crew, size_t mate, const char *format, ...) PRINTF_LIKE(3, 4);

/* Waits for a line that begins so, drops those before it, and returns what follows the beginning:
 * good until the next call. */
const char *crew_hear(struct crew *crew, size_t mate, const char *beginning);

/* Has it close a server, and waits until that is done. */
void crew_close_server(struct crew *crew, size_t mate, const char *name);

/* The number after the last colon. */
int crew_port(const char *address);

/* Waits for the mate's end of the connection. */
void crew_expect_gone(struct crew *crew, size_t mate);

/* Kills it, and waits until it has ended. */
void crew_kill(struct crew *crew, size_t mate);

#endif
