/* What comes: a handle, pieces that become a message, and messages that wait until they are wanted.
 * All of it is the word of another process, and checked. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cluster/handle.h"
#include "common/cluster/mail_parts.h"
#include "common/ipc/wide.h"
#include "common/macros.h"
#include "common/net/socket.h"
#include "common/net/transfer.h"

/* Less room than this is not worth a message. */
#define ROOM_WORTH_TELLING (IPC_MAIL_WINDOW / 4)

struct arrival {
	STAILQ_ENTRY(arrival) link;
	uint32_t number;
	bool has_handle;
	struct net_socket *socket;
	struct net_server *server;
	size_t unread; /* so many bytes at the beginning are the socket's */
	size_t cost;   /* what it takes of the window */
	size_t total;
	size_t offset; /* so many bytes have come */
	char *data;    /* NULL: no piece has come */
};

static int broken(const char *what, const char **ret_why)
{
	*ret_why = what;
	return -EPROTO;
}

/* Its socket or server ends with it, unless somebody took them. */
static void arrival_free(struct arrival *arrival)
{
	if (!arrival)
		return;
	if (arrival->socket)
		net_socket_destroy(arrival->socket, 0);
	net_server_free(arrival->server);
	free(arrival->data);
	free(arrival);
}

static struct arrival *arrival_new(struct mail *mail, uint32_t number)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	if (arrival)
		arrival->number = number;
	return arrival;
}

/* --- the window ------------------------------------------------------------------------------ */

void in_tell_room(struct mail *mail)
{
	const struct ipc_taken body = {.cost = mail->in.owed};

	if (mail->closed || body.cost < ROOM_WORTH_TELLING)
		return;
	/* A channel that does not take it now will say when it does. */
	if (channel_send(mail->channel, IPC_TAKEN, &body, NULL, 0, NULL) == 0)
		mail->in.owed = 0;
}

static void give_room(struct mail *mail, struct arrival *arrival)
{
	mail->in.used -= arrival->cost;
	mail->in.owed += (uint32_t)arrival->cost;
	arrival->cost = 0;
	in_tell_room(mail);
}

/* Whether the other end may send so much. What it was not yet told of is not its room. */
static bool has_room(const struct mail *mail, size_t cost)
{
	return cost <= IPC_MAIL_WINDOW - mail->in.owed - mail->in.used;
}

static void use_room(struct mail *mail, struct arrival *arrival, size_t cost)
{
	arrival->cost += cost;
	mail->in.used += cost;
}

/* --- telling --------------------------------------------------------------------------------- */

/* The bytes that its socket had read elsewhere are its again. */
static int unshift(struct arrival *arrival)
{
	if (arrival->unread == 0)
		return 0;
	arrival->socket->bytes_read += arrival->unread;
	return read_put_back(arrival->socket, arrival->data, arrival->unread);
}

static void tell(struct mail *mail, struct arrival *arrival)
{
	struct mail_message message = {
		.data = arrival->data + arrival->unread,
		.size = arrival->total - arrival->unread,
		.server = arrival->server,
		.socket = arrival->socket,
	};
	struct net_socket *s = arrival->socket;

	arrival->socket = NULL;
	arrival->server = NULL;
	if (s)
		net_socket_hold(s);
	if (message.server)
		transfer_begin_server(message.server);
	mail->ops->on_message(mail, &message, mail->ctx);
	if (s) {
		transfer_begin_socket(s);
		net_socket_release(s);
	}
}

/* Tells the first of those that are kept. */
static void tell_next(struct mail *mail)
{
	struct arrival *arrival = STAILQ_FIRST(&mail->in.kept);
	int r;

	STAILQ_REMOVE_HEAD(&mail->in.kept, link);
	give_room(mail, arrival);
	r = unshift(arrival);
	if (r < 0) {
		/* Without them it would tell its user something else than was sent. */
		net_socket_destroy(arrival->socket, r);
		arrival->socket = NULL;
	}
	tell(mail, arrival);
	arrival_free(arrival);
}

static void on_turn(struct defer *call);

static void tell_later(struct mail *mail)
{
	if (!mail->in.wanted || mail->freed || STAILQ_EMPTY(&mail->in.kept) ||
	    defer_waits(&mail->in.call))
		return;
	mail_hold(mail);
	defer_call(&mail->context->calls, &mail->in.call, on_turn);
}

static void on_turn(struct defer *call)
{
	struct mail *mail = CONTAINER_OF(call, struct mail, in.call);

	if (mail->in.wanted && !mail->freed && !STAILQ_EMPTY(&mail->in.kept))
		tell_next(mail);
	tell_later(mail);
	mail_release(mail);
}

void in_want(struct mail *mail, bool wanted)
{
	mail->in.wanted = wanted;
	if (wanted && mail->in.arriving)
		give_room(mail, mail->in.arriving);
	tell_later(mail);
}

/* --- handles --------------------------------------------------------------------------------- */

static int answer(struct mail *mail, uint32_t number, int status, const char **ret_why)
{
	const struct ipc_answered body = {.number = number, .status = (uint32_t)-status};

	*ret_why = "it takes no answers";
	return channel_tell(mail->channel, IPC_ANSWERED, &body, NULL, 0, NULL);
}

static int open_socket(struct mail *mail, struct arrival *arrival, const struct ipc_handle *head,
		       const struct transfer *state, int fd)
{
	uint64_t key = wide_get(head->key);
	int r = transfer_socket(mail->context->loop, fd, state, &arrival->socket);

	if (r < 0)
		return r;
	arrival->unread = head->unread;
	return key != 0 ? tracking_enter(&mail->tracking, key, arrival->socket) : 0;
}

/* Makes the object. On failure *fd may be taken or not. */
static int open_handle(struct mail *mail, struct arrival *arrival, const struct ipc_handle *head,
		       const struct transfer *state, int *fd)
{
	int r = head->kind == IPC_HANDLE_SERVER
			? transfer_server(mail->context->loop, *fd, state, &arrival->server)
			: open_socket(mail, arrival, head, state, *fd);

	if (arrival->socket || arrival->server)
		*fd = -1;
	arrival->has_handle = true;
	return r;
}

static const char *wrong_handle(const struct mail *mail, const struct ipc_message *message,
				struct transfer *ret_state)
{
	const struct ipc_handle *head = message->body;

	if (message->tail_count != 1)
		return "a message with no handle or with several";
	if (mail->in.arriving || head->number != mail_next_number(mail->in.last_number))
		return "a handle out of its turn";
	if (head->kind != IPC_HANDLE_SOCKET && head->kind != IPC_HANDLE_SERVER)
		return "a handle of an unknown kind";
	if (head->unread > (head->kind == IPC_HANDLE_SOCKET ? TRANSFER_UNREAD_MAX : 0))
		return "a handle with more bytes than it can have";
	if (!has_room(mail, IPC_MAIL_HANDLE_COST))
		return "more handles than there is room for";
	if (handle_from_row(message->tail, ret_state) < 0)
		return "a handle that makes no sense";
	return NULL;
}

int in_handle(struct mail *mail, struct ipc_message *message, const char **ret_why)
{
	const struct ipc_handle *head = message->body;
	struct arrival *arrival;
	struct transfer state;
	int r;

	*ret_why = wrong_handle(mail, message, &state);
	if (*ret_why)
		return -EPROTO;
	if (message->lost)
		return answer(mail, head->number, -EMFILE, ret_why);
	arrival = arrival_new(mail, head->number);
	if (!arrival)
		return answer(mail, head->number, -ENOMEM, ret_why);

	r = open_handle(mail, arrival, head, &state, &message->fds[0]);
	if (r < 0) {
		arrival_free(arrival);
		return r == NET_ERR_INVALID_FD_TYPE
			       ? broken("a descriptor that is not what it says", ret_why)
			       : answer(mail, head->number, r, ret_why);
	}
	use_room(mail, arrival, IPC_MAIL_HANDLE_COST);
	mail->in.arriving = arrival;
	return answer(mail, head->number, 0, ret_why);
}

/* --- pieces ---------------------------------------------------------------------------------- */

static int begin_message(struct arrival *arrival, const struct ipc_mail *body, const char **ret_why)
{
	if (body->size < arrival->unread || body->size - arrival->unread > MAIL_SIZE_MAX)
		return broken("a message that is too long", ret_why);

	arrival->data = malloc(body->size > 0 ? body->size : 1);
	if (!arrival->data) {
		*ret_why = "there is no memory for its message";
		return -ENOMEM;
	}
	arrival->total = body->size;
	return 0;
}

static const char *wrong_piece(const struct mail *mail, const struct ipc_mail *body, size_t size)
{
	const struct arrival *arrival = mail->in.arriving;
	size_t offset = arrival ? arrival->offset : 0;
	uint32_t number = arrival ? arrival->number : mail_next_number(mail->in.last_number);

	if (body->number != number || body->offset != offset ||
	    (arrival && arrival->data && body->size != arrival->total))
		return "a piece of a message out of its turn";
	if (body->size < offset || size > body->size - offset || (size == 0 && body->size > 0))
		return "a piece of a message with a wrong size";
	if (!has_room(mail, size + IPC_MAIL_PIECE_COST))
		return "more messages than there is room for";
	return NULL;
}

static void message_is_whole(struct mail *mail)
{
	struct arrival *arrival = mail->in.arriving;
	bool is_first = STAILQ_EMPTY(&mail->in.kept);

	mail->in.last_number = arrival->number;
	mail->in.arriving = NULL;
	STAILQ_INSERT_TAIL(&mail->in.kept, arrival, link);
	if (is_first && mail->in.wanted)
		tell_next(mail);
	else
		tell_later(mail);
}

int in_piece(struct mail *mail, const struct ipc_message *message, const char **ret_why)
{
	const struct ipc_mail *body = message->body;
	size_t size = message->tail_count;
	struct arrival *arrival;

	*ret_why = wrong_piece(mail, body, size);
	if (*ret_why)
		return -EPROTO;
	if (!mail->in.arriving)
		mail->in.arriving = arrival_new(mail, body->number);
	arrival = mail->in.arriving;
	if (!arrival) {
		*ret_why = "there is no memory for its message";
		return -ENOMEM;
	}

	int r = arrival->data ? 0 : begin_message(arrival, body, ret_why);
	if (r < 0)
		return r;
	memcpy(arrival->data + arrival->offset, message->tail, size);
	arrival->offset += size;
	use_room(mail, arrival, size + IPC_MAIL_PIECE_COST);
	if (arrival->offset == arrival->total)
		message_is_whole(mail);
	else if (mail->in.wanted)
		give_room(mail, arrival);
	return 0;
}

/* --- the end --------------------------------------------------------------------------------- */

void in_init(struct mail *mail)
{
	STAILQ_INIT(&mail->in.kept);
}

void in_close(struct mail *mail)
{
	arrival_free(mail->in.arriving);
	mail->in.arriving = NULL;
}

void in_drop_kept(struct mail *mail)
{
	struct arrival *arrival;

	while ((arrival = STAILQ_FIRST(&mail->in.kept))) {
		STAILQ_REMOVE_HEAD(&mail->in.kept, link);
		arrival_free(arrival);
	}
}
