/* A running usherd whose workers are fake_listener programs: their servers, and who comes there.
 *
 * Use it through LISTEN_TEST(): the test's *state is the struct usher, for listen_start().
 *
 * Owns:   the crew. The teardown ends it before usherd, and fails when one has left something.
 * Errors: what does not come in time fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_LISTEN_WORLD_H
#define USHER_TESTS_HELPERS_LISTEN_WORLD_H

#include <stddef.h>
#include <sys/types.h>

#include "tests/helpers/crew.h"
#include "tests/helpers/usher.h"

#define LISTEN_TEST(test) cmocka_unit_test_setup_teardown(test, listen_setup, listen_teardown)

/* The workers, those that have gone included. */
extern struct crew crew;

int listen_setup(void **state);
int listen_teardown(void **state);

/* settings stand before the listener that usherd must have, which is named "mine". */
void listen_start(struct usher *u, unsigned int workers, const char *settings);

/* Has a mate listen on 127.0.0.1: on that port, or on any, which is returned. */
void listen_on(size_t mate, const char *name, int port);
int listen_any(size_t mate, const char *name);
void listen_close(size_t mate, const char *name);

/* The port on which a server that was told to listen does so, or the error. */
int listen_heard(size_t mate, const char *name);
void listen_expect_error(size_t mate, const char *name, const char *error);

/* A port on which nobody listens now. */
int listen_free_port(size_t mate);

/* Waits until nobody listens there. */
void listen_expect_refused(int port);

/* Who greets the client, by pid; and a client that is greeted, and goes. */
pid_t listen_greeter(int fd);
void listen_expect_greeting(const char *host, int port);

/* A new folder, for paths of workers of any user. */
const char *listen_room(const struct usher *u);

#endif
