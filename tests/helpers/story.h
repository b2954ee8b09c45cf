/* Servers and sockets under test, and what happens to them as one line of text.
 *
 * Each event of an actor or a host adds a word to the story ("C.connect", "S.data:5", "H.close"),
 * so a test states an order of events by comparing text. A function in on[] is called after that,
 * with the object at hand, to do something inside the event.
 *
 * Owns:   a story owns its loop. Sockets and servers end as the library says; a test frees its
 *         servers, and ends its sockets, before story_end(), which fails if something still lives.
 * Errors: any failure fails the test. Every wait has a deadline. */
#ifndef USHER_TESTS_HELPERS_STORY_H
#define USHER_TESTS_HELPERS_STORY_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/macros.h"
#include "common/net/net.h"

struct story {
	struct ev_loop *loop;
	ev_timer watchdog;
	char text[8192];
	size_t size;
	const char *awaited;
	bool is_late;
};

void story_begin(struct story *story);
void story_end(struct story *story);
void story_tell(struct story *story, const char *format, ...) PRINTF_LIKE(2, 3);

/* Runs the loop until word has been told. */
void story_run_until(struct story *story, const char *word);
/* Runs the loop until done(ctx). */
void story_run_for(struct story *story, bool (*done)(void *ctx), void *ctx);
/* Runs what is ready, including deferred calls, and does not wait. */
void story_run_ready(struct story *story);
/* Runs the loop for that long. */
void story_run_ms(struct story *story, unsigned ms);

bool story_has(const struct story *story, const char *word);
size_t story_count(const struct story *story, const char *word);
/* Whether first was told, and second after it. */
bool story_in_order(const struct story *story, const char *first, const char *second);
void story_forget(struct story *story);

enum event {
	ON_LOOKUP,
	ON_ATTEMPT,
	ON_ATTEMPT_FAILED,
	ON_CONNECT,
	ON_READY,
	ON_DATA,
	ON_DRAIN,
	ON_END,
	ON_FINISH,
	ON_TIMEOUT,
	ON_ERROR,
	ON_CLOSE,
	ON_DONE, /* a completion function */
	EVENT_END,
};

struct actor {
	struct story *story;
	const char *name;
	struct net_socket *socket; /* NULL after on_close */
	char data[1 << 20];        /* what was received, as far as it fits */
	size_t size;
	size_t received;
	int error;
	char error_text[512];
	int status; /* of the last completion */
	void (*on[EVENT_END])(struct actor *actor);
	void *other; /* the test's own */
};

extern const struct net_socket_ops actor_ops;      /* all events but attempts */
extern const struct net_socket_ops actor_deaf_ops; /* all but data as well */
extern const struct net_socket_ops actor_full_ops; /* all */

/* A completion for ctx = actor: tells "NAME.done:STATUS", STATUS as "0" or an error's name. */
void actor_done(struct net_socket *socket, int status, void *ctx);

enum host_event { ON_LISTENING, ON_CONNECTION, ON_DROP, ON_HOST_ERROR, ON_HOST_CLOSE, HOST_END };

struct host {
	struct story *story;
	const char *name;
	struct net_server *server;
	struct actor *guests[16]; /* get the sockets that are accepted, in order */
	size_t guest_count;
	const struct net_socket_ops *guest_ops; /* NULL: actor_ops */
	struct net_socket *latest;
	struct net_drop drop;
	int error;
	char error_text[512];
	int status;
	size_t count;
	void (*on[HOST_END])(struct host *host);
	void *other;
};

extern const struct net_server_ops host_ops;

void host_done(struct net_server *server, int status, void *ctx);
void host_counted(struct net_server *server, int status, size_t count, void *ctx);

/* A server that listens on 127.0.0.1, and its port. */
void host_open(struct host *host, struct story *story, const char *name,
	       const struct net_server_options *options);
int host_port(const struct host *host);
/* A client of host, which may not yet be connected. */
void actor_connect(struct actor *actor, struct story *story, const char *name,
		   const struct host *host, const struct net_socket_options *options);
/* A plain, blocking descriptor connected to host. */
int plain_connect(const struct host *host);

#endif
