/* A message that waits to be sent, and its handle: what the modules that send share.
 *
 *   mail_out       the queue, and the pieces of its first letter
 *   mail_flight    the handle of that letter, before its pieces
 *
 * Owns: a letter holds its socket or server until that has left; then the descriptor, until the
 *       other end has it. */
#ifndef USHER_COMMON_CLUSTER_MAIL_LETTER_H
#define USHER_COMMON_CLUSTER_MAIL_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/mail_parts.h"
#include "common/ipc/messages.h"

/* Before the second try; of a handle each further pause is twice as long. */
#define LETTER_PAUSE_SECONDS 0.05

enum letter_state {
	LETTER_NEW,    /* its handle is to be sent, if it has one */
	LETTER_FLIES,  /* its handle was sent and not yet answered */
	LETTER_PAUSES, /* its handle is to be sent again */
	LETTER_GOES,   /* its pieces are to be sent */
};

struct letter {
	STAILQ_ENTRY(letter) link;
	struct defer call;
	struct mail *mail; /* holds a reference once it is answered */
	mail_done_fn *done;
	void *ctx;
	int status;
	enum letter_state state;
	unsigned tries;
	struct net_socket *socket; /* held, until it has left */
	struct net_server *server; /* held, until it was duplicated */
	bool keep_open;
	int fd; /* the handle that has left; -1: none */
	uint64_t key;
	struct ipc_handle head;
	struct ipc_handle_row row;
	uint32_t number; /* 0: nothing of it has gone */
	char *unread;    /* of the socket */
	size_t unread_size;
	size_t offset; /* of what is to be sent next, in both together */
	size_t size;
	char data[];
};

/* --- mail_out -------------------------------------------------------------------------------- */

/* Takes the first letter off the queue; its completion runs later. */
void letter_finish(struct mail *mail, int status);

/* --- mail_flight ----------------------------------------------------------------------------- */

/* Whether a handle can be sent, and the letter's hold of it. 0 or an error of mail_send(). */
int flight_check(const struct mail_handle *handle);
int flight_give(struct letter *letter, const struct mail_handle *handle);

/* Its socket or server is the letter's no more. */
void flight_release(struct letter *letter);

/* The first try, and a further one. Returns whether there may be more to do now. */
bool flight_begin(struct mail *mail, struct letter *letter);
bool flight_resume(struct mail *mail, struct letter *letter);

#endif
