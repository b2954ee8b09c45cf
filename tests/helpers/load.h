/* The bare servers of tests/load, and usher-load, as programs that a test runs.
 *
 * Owns:   a server's process, until bare_server_done().
 * Errors: what cannot fail in a sane system fails the test through cmocka.
 * Source: usher-load(1) for the report. */
#ifndef USHER_TESTS_HELPERS_LOAD_H
#define USHER_TESTS_HELPERS_LOAD_H

#include <jansson.h>

#include "tests/helpers/process.h"

struct bare_server {
	struct process process;
	char target[128]; /* as usher-load takes it */
};

/* Starts limit_echo or limit_relay with options up to a NULL, and waits until it listens. */
void bare_server_start(struct bare_server *s, const char *program, ...) __attribute__((sentinel));
/* Ends it; for json_decref(): what it counted, an object for each worker. */
json_t *bare_server_end(struct bare_server *s);
/* Ends it; the sum over its workers. */
json_int_t bare_server_counted(struct bare_server *s, const char *what);
void bare_server_done(struct bare_server *s);

/* Runs usher-load --json with arguments up to a NULL. Returns its exit code; *ret is its report,
 * for json_decref(), or NULL. */
int load_run(json_t **ret, ...) __attribute__((sentinel));

/* A number in the report. */
json_int_t load_figure(const json_t *report, const char *object, const char *key);

#endif
