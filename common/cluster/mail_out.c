/* What waits to be sent. Only the first letter is under way: its handle, then its pieces. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cluster/mail_letter.h"
#include "common/macros.h"
#include "common/net/transfer.h"

/* What a piece carries at most: it fits a packet. */
#define PIECE_MAX (IPC_PACKET_MAX - sizeof(uint32_t) - sizeof(struct ipc_mail))

/* With so much unsent the sender is asked to wait. */
#define UNSENT_MANY 131072

/* --- the end of a letter --------------------------------------------------------------------- */

static void letter_free(struct letter *letter)
{
	flight_release(letter);
	close_fd(letter->fd);
	free(letter->unread);
	free(letter);
}

/* One that could not leave because the channel has ended is nobody's any more. */
static void abandon_socket(struct letter *letter)
{
	struct net_socket *s = letter->socket;

	if (!s)
		return;
	letter->socket = NULL;
	net_socket_hold(s);
	transfer_release(s);
	if (letter->status == NET_ERR_IPC_CHANNEL_CLOSED && !letter->keep_open &&
	    !transfer_waits(s))
		net_socket_destroy(s, 0);
	net_socket_release(s);
}

static void on_done_turn(struct defer *call)
{
	struct letter *letter = CONTAINER_OF(call, struct letter, call);
	struct mail *mail = letter->mail;

	if (!mail->freed && letter->done)
		letter->done(mail, letter->status, letter->ctx);
	else if (!mail->freed && letter->status < 0 && mail->ops->on_error)
		mail->ops->on_error(mail, letter->status, mail->ctx);
	abandon_socket(letter);
	letter_free(letter);
	mail_release(mail);
}

/* Of the user's bytes. */
static size_t unsent_size(const struct letter *letter)
{
	return letter->offset < letter->unread_size
		       ? letter->size
		       : letter->size - (letter->offset - letter->unread_size);
}

void letter_finish(struct mail *mail, int status)
{
	struct letter *letter = STAILQ_FIRST(&mail->out.letters);

	STAILQ_REMOVE_HEAD(&mail->out.letters, link);
	mail->out.count--;
	mail->out.unsent -= unsent_size(letter);
	ev_timer_stop(mail->context->loop, &mail->out.pause);
	close_fd(take_fd(&letter->fd));
	letter->status = status;
	mail_hold(mail);
	defer_call(&mail->context->calls, &letter->call, on_done_turn);
}

/* --- pieces ---------------------------------------------------------------------------------- */

/* What comes next, from the socket's bytes or the user's. */
static const char *next_piece(const struct letter *letter, size_t *ret_size)
{
	bool is_unread = letter->offset < letter->unread_size;
	size_t rest = is_unread ? letter->unread_size - letter->offset
				: letter->unread_size + letter->size - letter->offset;

	*ret_size = rest < PIECE_MAX ? rest : PIECE_MAX;
	return is_unread ? letter->unread + letter->offset
			 : letter->data + (letter->offset - letter->unread_size);
}

/* Sends one piece. Returns whether there may be more to do now. */
static bool send_piece(struct mail *mail, struct letter *letter)
{
	size_t size, total = letter->unread_size + letter->size;
	const char *piece = next_piece(letter, &size);
	struct ipc_mail body = {.size = (uint32_t)total, .offset = (uint32_t)letter->offset};
	int r;

	if (mail->out.credit < size + IPC_MAIL_PIECE_COST)
		return false;
	if (letter->number == 0)
		letter->number = mail->out.last_number = mail_next_number(mail->out.last_number);
	body.number = letter->number;

	r = channel_send(mail->channel, IPC_MAIL, &body, piece, size, NULL);
	if (r < 0) {
		/* Its end is told elsewhere; all other reasons go away. */
		if (r != -EPIPE) {
			ev_timer_set(&mail->out.pause, LETTER_PAUSE_SECONDS, 0.);
			ev_timer_start(mail->context->loop, &mail->out.pause);
		}
		return false;
	}
	mail->out.credit -= size + IPC_MAIL_PIECE_COST;
	mail->out.unsent -= letter->offset < letter->unread_size ? 0 : size;
	letter->offset += size;
	if (letter->offset == total)
		letter_finish(mail, 0);
	return true;
}

static bool step(struct mail *mail, struct letter *letter)
{
	switch (letter->state) {
	case LETTER_NEW:
		return flight_begin(mail, letter);
	case LETTER_GOES:
		return send_piece(mail, letter);
	case LETTER_PAUSES:
		return flight_resume(mail, letter);
	case LETTER_FLIES:
		break;
	}
	return false;
}

void out_pump(struct mail *mail)
{
	struct letter *letter;

	while (!mail->closed && !ev_is_active(&mail->out.pause) &&
	       channel_is_drained(mail->channel) && (letter = STAILQ_FIRST(&mail->out.letters)) &&
	       step(mail, letter))
		;
	mail_settle(mail);
}

int out_credit(struct mail *mail, const struct ipc_taken *body, const char **ret_why)
{
	if (body->cost > IPC_MAIL_WINDOW - mail->out.credit) {
		*ret_why = "it took more than it was sent";
		return -EPROTO;
	}
	mail->out.credit += body->cost;
	out_pump(mail);
	return 0;
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct mail *mail = CONTAINER_OF(timer, struct mail, out.pause);

	mail_hold(mail);
	out_pump(mail);
	mail_release(mail);
}

void out_init(struct mail *mail)
{
	STAILQ_INIT(&mail->out.letters);
	mail->out.credit = IPC_MAIL_WINDOW;
	ev_timer_init(&mail->out.pause, on_pause_over, 0., 0.);
}

void out_close(struct mail *mail)
{
	while (!STAILQ_EMPTY(&mail->out.letters))
		letter_finish(mail, NET_ERR_IPC_CHANNEL_CLOSED);
}

/* --- send ------------------------------------------------------------------------------------ */

static int check(const struct mail *mail, size_t size, const struct mail_handle *handle)
{
	if (mail->ended || mail->closed)
		return NET_ERR_IPC_CHANNEL_CLOSED;
	if (size > MAIL_SIZE_MAX)
		return -EMSGSIZE;
	if (size > MAIL_QUEUE_MAX - mail->out.unsent || mail->out.count == MAIL_QUEUE_COUNT)
		return -ENOBUFS;
	return handle ? flight_check(handle) : 0;
}

/* Whether the sender may go on. */
static bool is_welcome(const struct mail *mail)
{
	const struct letter *first = STAILQ_FIRST(&mail->out.letters);
	bool blocked = first && (first->state == LETTER_FLIES || first->state == LETTER_PAUSES);

	return mail->out.unsent < UNSENT_MANY && !(blocked && mail->out.count > 2);
}

int mail_send(struct mail *mail, const void *data, size_t size, const struct mail_handle *handle,
	      mail_done_fn *done, void *ctx)
{
	int r = check(mail, size, handle);
	struct letter *letter;

	if (r < 0)
		return r;
	letter = calloc(1, sizeof(*letter) + size);
	if (!letter)
		return -ENOMEM;

	letter->mail = mail;
	letter->done = done;
	letter->ctx = ctx;
	letter->fd = -1;
	letter->size = size;
	if (size > 0)
		memcpy(letter->data, data, size);
	if (handle)
		r = flight_give(letter, handle);
	if (r < 0) {
		letter_free(letter);
		return r;
	}

	STAILQ_INSERT_TAIL(&mail->out.letters, letter, link);
	mail->out.count++;
	mail->out.unsent += size;
	out_pump(mail);
	return is_welcome(mail);
}
