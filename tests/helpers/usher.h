/* A running usherd for one test: its own folder, configuration, control socket and notification
 * socket, and looked over when the test has ended.
 *
 * Use it through USHER_TEST(): the fixture is the test's *state.
 *
 * Owns:   everything below u->folder, the process and its children, u->clients.
 * Errors: whatever goes wrong fails the test through cmocka, with what usherd logged.
 * Order:  usher_configure(), usher_start(), questions; the teardown stops usherd with SIGTERM and
 *         fails the test unless it ended with 0 in time, left no child, held as many descriptors
 *         without clients as before them, and the test closed all of its own.
 * Source: sd_notify(3) for READY=1. */
#ifndef USHER_TESTS_HELPERS_USHER_H
#define USHER_TESTS_HELPERS_USHER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/macros.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/process.h"

#define USHER_TEST(test) cmocka_unit_test_setup_teardown(test, usher_setup, usher_teardown)

#define USHER_WORKERS_MAX 64
#define USHER_PATHS       4

struct usher {
	char folder[32];
	char config[64];
	char control[64];
	struct process process;
	int notify; /* receives what usherd tells its service manager */
	struct clients clients;

	const char *program; /* in the build folder; NULL: usherd */

	/* What the next start adds: borrowed until then. */
	const char *const *args;
	const char *const *env;
	const int *fds;
	int n_fds;
	const char *fd_names;
	uid_t uid;

	size_t own_fds; /* of the test, before it began */
	int daemon_fds; /* of usherd, when it was ready; -1: not to be compared */
};

int usher_setup(void **state);
int usher_teardown(void **state);

/* Writes the configuration: the line for the control socket, then the text. */
void usher_configure(struct usher *u, const char *format, ...) PRINTF_LIKE(2, 3);

/* Starts usherd with the configuration; usher_start() also waits until it says that it is ready. */
void usher_launch(struct usher *u);
void usher_start(struct usher *u);

/* Waits for a line that begins so in what usherd tells its service manager. */
bool usher_was_told(struct usher *u, const char *line, int timeout_ms);

void usher_signal(const struct usher *u, int signal);
/* Its exit code, or 128 plus the number of the signal that ended it. */
int usher_ended(struct usher *u);

/* What it has logged, for free(), and whether (soon) a text is in there. */
char *usher_log(const struct usher *u);
bool usher_logs(struct usher *u, const char *text);

/* Soon neither usherd nor a worker uses the processor for so long: what happened before may have to
 * be finished, but who is kept busy never is idle. */
void usher_expect_idle(const struct usher *u, int for_ms);

/* FOLDER/NAME; the last USHER_PATHS of them live. */
const char *usher_path(const struct usher *u, const char *name);

/* The teardown is not to compare usherd's descriptors: this test changed what it must hold. */
void usher_holds_other_fds(struct usher *u);

#endif
