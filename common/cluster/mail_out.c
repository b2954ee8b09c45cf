/* What waits to be sent. Only the first letter is under way: its handle, then its pieces. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cluster/handle.h"
#include "common/cluster/mail_parts.h"
#include "common/ipc/wide.h"
#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/transfer.h"

/* What a piece carries at most: it fits a packet. */
#define PIECE_MAX (IPC_PACKET_MAX - sizeof(uint32_t) - sizeof(struct ipc_mail))

#define TRIES_MAX     4
/* Before the second try; each further pause is twice as long. */
#define PAUSE_SECONDS 0.05

/* With so much unsent the sender is asked to wait. */
#define UNSENT_MANY 131072

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

/* --- the end of a letter --------------------------------------------------------------------- */

static void letter_free(struct letter *letter)
{
	if (letter->socket)
		transfer_release(letter->socket);
	if (letter->server)
		server_release(letter->server);
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

/* Takes the first letter off the queue; its completion runs later. */
static void finish(struct mail *mail, int status)
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

/* --- a handle -------------------------------------------------------------------------------- */

static int pack_server(struct letter *letter, int *ret_fd)
{
	struct transfer state;
	int r = transfer_save_server(letter->server, &state, ret_fd);

	if (r < 0)
		return r;
	letter->head.kind = IPC_HANDLE_SERVER;
	handle_to_row(&state, &letter->row);
	return 0;
}

static int pack_unread(struct letter *letter)
{
	size_t size = transfer_unread_size(letter->socket);

	letter->unread_size = 0;
	free(letter->unread);
	letter->unread = size > 0 ? malloc(size) : NULL;
	if (size > 0 && !letter->unread)
		return -ENOMEM;
	transfer_copy_unread(letter->socket, letter->unread);
	letter->unread_size = size;
	return 0;
}

/* The server that is to count it from now on; what came from elsewhere is counted no further, and
 * what stays open here as well is counted here. */
static int pack_key(struct letter *letter)
{
	struct net_server *server = net_socket_server(letter->socket);

	letter->key = 0;
	if (!server || letter->keep_open)
		return 0;
	return tracking_prepare(&letter->mail->tracking, server, &letter->key);
}

static int pack_socket(struct letter *letter, int *ret_fd)
{
	struct transfer state;
	int r = transfer_check(letter->socket);

	if (r == 0)
		r = pack_key(letter);
	if (r == 0 && !letter->keep_open)
		r = pack_unread(letter);
	if (r < 0)
		return r;

	transfer_save_socket(letter->socket, &state);
	letter->head.kind = IPC_HANDLE_SOCKET;
	letter->head.unread = (uint32_t)letter->unread_size;
	wide_put(letter->head.key, letter->key);
	handle_to_row(&state, &letter->row);
	*ret_fd = transfer_fd(letter->socket);
	return 0;
}

static int send_handle(struct mail *mail, struct letter *letter, int fd)
{
	int r;

	letter->head.number = letter->number != 0 ? letter->number
						  : mail_next_number(mail->out.last_number);
	r = channel_send(mail->channel, IPC_HANDLE, &letter->head, &letter->row, 1, &fd);
	if (r < 0)
		return r;
	mail->out.credit -= IPC_MAIL_HANDLE_COST;
	letter->state = LETTER_FLIES;
	return 0;
}

/* It has left: what was the object's is the letter's. */
static void take_from_object(struct letter *letter, int copy)
{
	struct mail *mail = letter->mail;

	letter->number = letter->head.number;
	letter->fd = copy;
	if (letter->server) {
		server_release(letter->server);
		letter->server = NULL;
		return;
	}

	tracking_sent(&mail->tracking, letter->key);
	if (letter->keep_open)
		transfer_share_socket(letter->socket);
	else
		letter->fd = transfer_detach(letter->socket);
	transfer_release(letter->socket);
	letter->socket = NULL;
}

/* Lets some time pass before the next try, or gives up. Returns whether there may be more to do
 * now. */
static bool try_again(struct mail *mail, struct letter *letter, int error)
{
	if (error == -EPIPE)
		return false;
	if (++letter->tries == TRIES_MAX) {
		finish(mail, error);
		return true;
	}
	letter->state = letter->fd >= 0 ? LETTER_PAUSES : LETTER_NEW;
	ev_now_update(mail->context->loop);
	ev_timer_set(&mail->out.pause, PAUSE_SECONDS * (1u << (letter->tries - 1)), 0.);
	ev_timer_start(mail->context->loop, &mail->out.pause);
	return false;
}

/* A message whose handle has ended while it waited goes without. */
static void go_without(struct letter *letter)
{
	if (letter->socket)
		transfer_release(letter->socket);
	if (letter->server)
		server_release(letter->server);
	letter->socket = NULL;
	letter->server = NULL;
	letter->state = LETTER_GOES;
}

/* What stays open here must stay open for the next try, even if it is closed here by then. */
static int copy_of(const struct letter *letter, int fd, int *ret)
{
	*ret = -1;
	if (letter->socket && !letter->keep_open)
		return 0;
	*ret = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *ret == -1 ? -errno : 0;
}

/* The first try. Returns whether there may be more to do now. */
static bool begin(struct mail *mail, struct letter *letter)
{
	AUTO_CLOSE int copy = -1;
	int fd = -1;
	int r;

	if (!letter->socket && !letter->server) {
		letter->state = LETTER_GOES;
		return true;
	}
	if (mail->out.credit < IPC_MAIL_HANDLE_COST)
		return false;

	r = letter->socket ? pack_socket(letter, &fd) : pack_server(letter, &fd);
	if (r == NET_ERR_STREAM_DESTROYED || r == NET_ERR_SERVER_NOT_RUNNING) {
		go_without(letter);
		return true;
	}
	if (r == 0)
		r = copy_of(letter, fd, &copy);
	if (r < 0) {
		finish(mail, r);
		return true;
	}

	r = send_handle(mail, letter, fd);
	if (r < 0)
		return try_again(mail, letter, r);
	take_from_object(letter, take_fd(&copy));
	return false;
}

/* A further one. */
static bool send_again(struct mail *mail, struct letter *letter)
{
	int r;

	if (mail->out.credit < IPC_MAIL_HANDLE_COST)
		return false;
	r = send_handle(mail, letter, letter->fd);
	if (r < 0)
		return try_again(mail, letter, r);
	tracking_sent(&mail->tracking, letter->key);
	return false;
}

void out_answered(struct mail *mail, const struct ipc_answered *body)
{
	struct letter *letter = STAILQ_FIRST(&mail->out.letters);

	if (!letter || letter->state != LETTER_FLIES || letter->number != body->number)
		return;

	tracking_answered(&mail->tracking, letter->key, body->status == 0);
	if (body->status == 0) {
		mail->out.last_number = letter->number;
		close_fd(take_fd(&letter->fd));
		letter->state = LETTER_GOES;
	} else {
		mail->out.credit += IPC_MAIL_HANDLE_COST;
		try_again(mail, letter, body->status < 4096 ? -(int)body->status : -EPROTO);
	}
	out_pump(mail);
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
			ev_timer_set(&mail->out.pause, PAUSE_SECONDS, 0.);
			ev_timer_start(mail->context->loop, &mail->out.pause);
		}
		return false;
	}
	mail->out.credit -= size + IPC_MAIL_PIECE_COST;
	mail->out.unsent -= letter->offset < letter->unread_size ? 0 : size;
	letter->offset += size;
	if (letter->offset == total)
		finish(mail, 0);
	return true;
}

static bool step(struct mail *mail, struct letter *letter)
{
	switch (letter->state) {
	case LETTER_NEW:
		return begin(mail, letter);
	case LETTER_GOES:
		return send_piece(mail, letter);
	case LETTER_PAUSES:
		return send_again(mail, letter);
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
		finish(mail, NET_ERR_IPC_CHANNEL_CLOSED);
}

/* --- send ------------------------------------------------------------------------------------ */

static int check_handle(const struct mail_handle *handle)
{
	struct transfer state;
	int fd;

	if (handle->server && handle->socket)
		return -EINVAL;
	if (handle->socket)
		return transfer_check(handle->socket);
	return handle->server ? transfer_save_server(handle->server, &state, &fd) : 0;
}

static int check(const struct mail *mail, size_t size, const struct mail_handle *handle)
{
	if (mail->ended || mail->closed)
		return NET_ERR_IPC_CHANNEL_CLOSED;
	if (size > MAIL_SIZE_MAX)
		return -EMSGSIZE;
	if (size > MAIL_QUEUE_MAX - mail->out.unsent || mail->out.count == MAIL_QUEUE_COUNT)
		return -ENOBUFS;
	return handle ? check_handle(handle) : 0;
}

static int give_handle(struct letter *letter, const struct mail_handle *handle)
{
	int r = handle->socket ? transfer_hold(handle->socket) : 0;

	if (r < 0)
		return r;
	letter->keep_open = handle->keep_open;
	letter->socket = handle->socket;
	letter->server = handle->server;
	if (letter->server)
		server_hold(letter->server);
	return 0;
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
		r = give_handle(letter, handle);
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
