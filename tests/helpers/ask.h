/* Questions to a running usherd by way of the real usherctl.
 *
 * Errors: an answer that does not come, or lacks what its schema promises, fails the test through
 *         cmocka.
 * Source: usherctl(1) for the JSON schema. */
#ifndef USHER_TESTS_HELPERS_ASK_H
#define USHER_TESTS_HELPERS_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "tests/helpers/usher.h"

/* Runs usherctl -s SOCKET with arguments up to a NULL; returns its exit code. *ret_out and
 * *ret_err, unless NULL, are for free(). */
int ask_ctl(const struct usher *u, char **ret_out, char **ret_err, ...) __attribute__((sentinel));

/* The answer of usherctl --json status and connections; for json_decref(). */
json_t *ask_status(const struct usher *u);
json_t *ask_connections(const struct usher *u);
/* That of connections, asked for until all workers have answered in time but the one that is
 * stopped (0: none is). However slow they are, each answer comes in time. */
json_t *ask_answered(const struct usher *u, pid_t stopped);
/* That of connections --list, of a listener or with NULL of all. */
json_t *ask_list(const struct usher *u, const char *listener);
/* A string that an answer or a row of it must have. */
const char *ask_text(const json_t *row, const char *key);

/* The port that status reports for a listener. */
int ask_port(const struct usher *u, const char *listener);
/* Its whole address, in a buffer that lives until the next call. */
const char *ask_address(const struct usher *u, const char *listener);

/* The pids of the workers in a state ("ready"), and the wait until there are so many of those. */
size_t ask_workers(const struct usher *u, const char *state, pid_t pids[USHER_WORKERS_MAX]);
bool ask_until_workers(struct usher *u, const char *state, size_t count);
/* The same, where pid is none of them any more. */
bool ask_until_replaced(struct usher *u, pid_t pid, size_t count);
/* Kills the only worker as often as it is ready, until it is seen to back off: who is slow to ask
 * finds it ready again. */
bool ask_until_backing_off(struct usher *u);
/* Those of the workers that are ready, which must be so many. */
void ask_ready(const struct usher *u, size_t count, pid_t pids[USHER_WORKERS_MAX]);

/* The sum that usherctl connections gives. */
long ask_total(const struct usher *u);
/* At rest it is count: a worker that does not answer in time has an old figure in it. */
void ask_expect_total(const struct usher *u, long count);
/* At rest usherctl and the kernel agree on count connections of the TCP port, and usherctl's rows
 * add up. */
void ask_expect_connections(struct usher *u, int port, long count);
/* Closes those of u->clients that have ended, until all others are the connections of the port:
 * workers have died or been told to end. */
void ask_forget_ended(struct usher *u, int port);
/* Each of u->clients is answered by an echo, and they are the connections of the port. */
void ask_expect_served(struct usher *u, int port);

#endif
