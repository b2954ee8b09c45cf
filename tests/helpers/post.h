/* Two ends of an exchange of messages, A in a supervisor and B in a worker, on the loop of a stage.
 *
 * Each event adds a word to the story: "B.message:5", with "+socket" or "+server" behind it,
 * "A.done:0", "A.error:EMFILE", "A.lost:0", "A.flushed:0". A socket that comes is given to the next
 * free one of the end's guests, and is else kept in sockets[], quiet.
 *
 * Use: post_set() and post_clear() as setup and teardown; the state is a struct post. The teardown
 * fails when a descriptor or something on the loop was left. */
#ifndef USHER_TESTS_HELPERS_POST_H
#define USHER_TESTS_HELPERS_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cluster/mail.h"
#include "common/ipc/channel.h"
#include "tests/helpers/stage.h"

#define POST_SOCKETS 1024

struct post_end {
	struct story *story;
	const char *name;
	struct channel channel;
	struct mail *mail;
	void (*on_message)(struct post_end *end, const struct mail_message *message);
	void (*on_done)(struct post_end *end);
	struct actor *guests[2];
	size_t guest_count;
	struct net_socket *sockets[POST_SOCKETS];
	size_t socket_count;
	struct net_server *server;
	char *data; /* of the last message */
	size_t size;
	size_t messages;
	size_t dones;
	int status;  /* of the last completion */
	int failure; /* the last one that was not 0 */
	size_t failures;
	bool is_lost;
	const char *lost_why;
	bool is_quiet; /* tells no story */
};

struct post {
	struct stage *stage;
	struct post_end a;
	struct post_end b;
	struct actor guest; /* "R": the first socket that B gets */
	int bare;           /* in place of B, after post_go_bare(); else -1 */
	size_t fds;
};

int post_set(void **state);
int post_clear(void **state);

#define on_post(test) cmocka_unit_test_setup_teardown(test, post_set, post_clear)

/* An end of its own, on fd; the other ones are opened by post_set(). */
void post_end_open(struct post_end *end, struct story *story, const char *name, int fd,
		   enum ipc_side side);
/* Closes the channel and frees the rest. */
void post_end_close(struct post_end *end);

/* Closes B; A has a bare socket at its other end from now on, to send what no B would. */
void post_go_bare(struct post *post);
/* Sends a message from it, as big as the table says, with that descriptor unless it is -1. */
void post_bare_send(struct post *post, enum ipc_type type, const void *body, const void *tail,
		    size_t tail_count, int fd);
/* Runs what is ready, and takes the next message that A has sent, whose descriptor, if it has one,
 * is the caller's in *ret_fd. ret is valid until the next call. Returns whether there was one. */
bool post_bare_take(struct post *post, struct ipc_message *ret, int *ret_fd);

/* Takes a HANDLE, which must be next, and answers one. */
void post_bare_take_handle(struct post *post, struct ipc_handle *ret, int *ret_fd);
void post_bare_answer(struct post *post, uint32_t number, int status);

/* mail_send() from an end, with a completion that is told. */
int post_send(struct post_end *end, const void *data, size_t size,
	      const struct mail_handle *handle);
int post_text(struct post_end *end, const char *text);
int post_socket(struct post_end *end, const char *text, struct net_socket *s);
/* Forgets the socket of an actor, who has no part in it any more, and sends it. */
int post_actor(struct post_end *end, const char *text, struct actor *actor);

/* Sends S from A to B, where it is R from then on; the story is empty then. */
void post_pass_guest(struct post *post);

/* What the set has that the loop sleeps in, by proc(5). */
size_t post_watched(const struct post *post);

/* Runs until an end has so many messages or completions. */
void post_run_messages(struct post_end *end, size_t count);
void post_run_dones(struct post_end *end, size_t count);

#endif
