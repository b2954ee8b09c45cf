/* What the modules of a mail share; mail.h says what each is for.
 *
 * Owns: a mail holds one reference to itself until mail_free(), and one for each call that waits.
 */
#ifndef USHER_COMMON_CLUSTER_MAIL_PARTS_H
#define USHER_COMMON_CLUSTER_MAIL_PARTS_H

#include <stdint.h>
#include <sys/queue.h>

#include "common/cluster/mail.h"
#include "common/cluster/tracking.h"
#include "common/net/context.h"

struct letter;
struct arrival;

struct mail_out {
	STAILQ_HEAD(, letter) letters; /* the first is under way */
	size_t count;                  /* of them */
	size_t unsent;                 /* bytes of the user's */
	size_t credit;                 /* what the other end still has room for */
	uint32_t last_number;          /* of a message that went */
	ev_timer pause;                /* before the next try */
};

struct mail_in {
	uint32_t last_number;        /* of a message that came whole */
	struct arrival *arriving;    /* its pieces still come; NULL: none */
	STAILQ_HEAD(, arrival) kept; /* whole */
	size_t used;                 /* of the window */
	uint32_t owed;               /* room that is to be told to the other end */
	struct defer call;           /* tells the next one that is kept */
	bool wanted;
};

struct mail {
	struct net_context *context;
	struct channel *channel;
	const struct mail_ops *ops;
	void *ctx;
	unsigned refs;
	bool ended;  /* nothing more is to be sent */
	bool closed; /* the channel is used no more */
	bool freed;
	struct mail_out out;
	struct mail_in in;
	struct tracking tracking;
	mail_done_fn *flushed; /* NULL: nobody waits for it, or it was called */
	void *flushed_ctx;
	struct defer flush_call;
};

/* 0 is no message's. */
static inline uint32_t mail_next_number(uint32_t number)
{
	return number == UINT32_MAX ? 1 : number + 1;
}

/* --- mail ------------------------------------------------------------------------------------ */

void mail_hold(struct mail *mail);
void mail_release(struct mail *mail);

/* Something has left, or has come: tells the flush if it is time, and holds the loop as needed. */
void mail_settle(struct mail *mail);

/* --- mail_out -------------------------------------------------------------------------------- */

void out_init(struct mail *mail);
/* Sends as much as may be sent now. */
void out_pump(struct mail *mail);
int out_credit(struct mail *mail, const struct ipc_taken *body, const char **ret_why);
/* Nothing goes any more. */
void out_close(struct mail *mail);

/* --- mail_flight ----------------------------------------------------------------------------- */

void flight_answered(struct mail *mail, const struct ipc_answered *body);

/* --- mail_in --------------------------------------------------------------------------------- */

void in_init(struct mail *mail);
int in_piece(struct mail *mail, const struct ipc_message *message, const char **ret_why);
int in_handle(struct mail *mail, struct ipc_message *message, const char **ret_why);
void in_want(struct mail *mail, bool wanted);
/* Tells the other end what room there is, if it is worth a message. */
void in_tell_room(struct mail *mail);
/* Nothing comes any more; what is whole is kept. */
void in_close(struct mail *mail);
void in_drop_kept(struct mail *mail);

#endif
