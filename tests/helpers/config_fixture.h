/* Configurations in tests: a folder for the files, and assertions about what they come to.
 *
 * Use it through CONFIG_TEST(): the fixture is the test's *state, and its folder is the current
 * one until the test ends.
 *
 * Owns:   the folder, f->errors and f->config.
 * Errors: whatever goes wrong fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_CONFIG_FIXTURE_H
#define USHER_TESTS_HELPERS_CONFIG_FIXTURE_H

#include "daemon/config.h"

#define CONFIG_TEST(test) cmocka_unit_test_setup_teardown(test, config_setup, config_teardown)

#define ONE_LISTENER "listeners: [{name: one, port: 0, handler: echo}]\n"

struct config_fixture {
	char folder[32];
	int before; /* the folder that was the current one */
	struct config_errors errors;
	struct config *config;
};

int config_setup(void **state);
int config_teardown(void **state);

/* Writes a file, in the fixture's folder where the path is relative. */
void config_put(const char *path, const char *text);

/* Both read a configuration without mistakes into f->config; what was there is freed. */
const struct config *config_load_ok(struct config_fixture *f, const char *path);
const struct config *config_parse_ok(struct config_fixture *f, const char *text);

/* The one listener, an echo, of which keys are the others: "port: 0". */
const struct config_listener *config_parse_listener(struct config_fixture *f, const char *keys);

/* Loading fails so, and exactly this is said. */
void config_assert_refused(struct config_fixture *f, const char *path, int err,
			   const char *expected);

/* What config_errors_print() and config_print() write, for free(). */
char *config_complaints(const struct config_errors *errors);
char *config_printed(const struct config *config);

#endif
