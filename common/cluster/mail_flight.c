/* The handle of a letter: it goes before the pieces, and stays here until the other end has it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/cluster/handle.h"
#include "common/cluster/mail_letter.h"
#include "common/ipc/wide.h"
#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/transfer.h"

#define TRIES_MAX 4

/* --- what is given to a letter --------------------------------------------------------------- */

int flight_check(const struct mail_handle *handle)
{
	struct transfer state;
	int fd;

	if (handle->server && handle->socket)
		return -EINVAL;
	if (handle->socket)
		return transfer_check(handle->socket);
	return handle->server ? transfer_save_server(handle->server, &state, &fd) : 0;
}

int flight_give(struct letter *letter, const struct mail_handle *handle)
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

void flight_release(struct letter *letter)
{
	if (letter->socket)
		transfer_release(letter->socket);
	if (letter->server)
		server_release(letter->server);
	letter->socket = NULL;
	letter->server = NULL;
}

/* --- what leaves ----------------------------------------------------------------------------- */

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
	if (r == 0)
		letter->state = LETTER_FLIES;
	return r;
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

/* It arrives nowhere. As long as it was to be tried again, it was on its way. */
static void give_up(struct mail *mail, struct letter *letter, int error)
{
	bool has_left = letter->state != LETTER_NEW;

	letter_finish(mail, error);
	if (has_left)
		tracking_answered(&mail->tracking, letter->key, false);
}

/* Lets some time pass before the next try, or gives up. Returns whether there may be more to do
 * now. */
static bool try_again(struct mail *mail, struct letter *letter, int error)
{
	if (++letter->tries == TRIES_MAX) {
		give_up(mail, letter, error);
		return true;
	}
	letter->state = letter->fd >= 0 ? LETTER_PAUSES : LETTER_NEW;
	ev_now_update(mail->context->loop);
	ev_timer_set(&mail->out.pause, LETTER_PAUSE_SECONDS * (1u << (letter->tries - 1)), 0.);
	ev_timer_start(mail->context->loop, &mail->out.pause);
	return false;
}

/* The end of a channel is told elsewhere; all other reasons go away. */
static bool not_sent(struct mail *mail, struct letter *letter, int error)
{
	return error != -EPIPE && try_again(mail, letter, error);
}

/* A message whose handle has ended while it waited goes without. */
static void go_without(struct letter *letter)
{
	flight_release(letter);
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

bool flight_begin(struct mail *mail, struct letter *letter)
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
		letter_finish(mail, r);
		return true;
	}

	r = send_handle(mail, letter, fd);
	if (r < 0)
		return not_sent(mail, letter, r);
	take_from_object(letter, take_fd(&copy));
	return false;
}

bool flight_resume(struct mail *mail, struct letter *letter)
{
	int r;

	if (mail->out.credit < IPC_MAIL_HANDLE_COST)
		return false;
	r = send_handle(mail, letter, letter->fd);
	return r < 0 && not_sent(mail, letter, r);
}

void flight_answered(struct mail *mail, const struct ipc_answered *body)
{
	struct letter *letter = STAILQ_FIRST(&mail->out.letters);

	if (!letter || letter->state != LETTER_FLIES || letter->number != body->number)
		return;

	if (body->status == 0) {
		tracking_answered(&mail->tracking, letter->key, true);
		mail->out.last_number = letter->number;
		mail->out.credit -= IPC_MAIL_HANDLE_COST;
		close_fd(take_fd(&letter->fd));
		letter->state = LETTER_GOES;
	} else {
		try_again(mail, letter, body->status < 4096 ? -(int)body->status : -EPROTO);
	}
	out_pump(mail);
}
