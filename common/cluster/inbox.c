#include "common/cluster/inbox.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/macros.h"

void inbox_init(struct inbox *inbox, struct claims *claims)
{
	*inbox = (struct inbox){.claims = claims};
}

static int check(const struct inbox *inbox, const struct ipc_message *message)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;

	if (!inbox->claims->page || body->first != inbox->last + 1 ||
	    inbox->last - inbox->taken + message->tail_count > IPC_IN_FLIGHT_MAX)
		return -EPROTO;
	for (size_t i = 0; i < message->tail_count; i++)
		if (peers[i].size > sizeof(((struct addr *)0)->un))
			return -EPROTO;
	return 0;
}

/* There is room: none is here that was taken. */
static void keep(struct inbox *inbox, uint32_t listener, const struct ipc_peer *peer, int fd)
{
	size_t end = (inbox->first + inbox->count++) % ARRAY_LEN(inbox->arrivals);
	struct arrival *arrival = &inbox->arrivals[end];

	*arrival = (struct arrival){
		.fd = fd,
		.listener = listener,
		.number = inbox->last,
		.elsewhere = peer->elsewhere,
		.peer.len = peer->size,
	};
	memcpy(&arrival->peer.sa, peer->address, peer->size);
}

int inbox_put(struct inbox *inbox, struct ipc_message *message)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;
	int error = check(inbox, message);

	if (error < 0)
		return error;
	for (size_t i = 0; i < message->tail_count; i++) {
		claims_set_reason(inbox->claims, ++inbox->last, message->lost ? EMFILE : 0);
		if (!message->lost)
			keep(inbox, body->listener, &peers[i], take_fd(&message->fds[i]));
	}
	inbox->returns |= message->lost;
	return 0;
}

bool inbox_waits(const struct inbox *inbox)
{
	return inbox->last != inbox->taken;
}

const struct arrival *inbox_next(const struct inbox *inbox)
{
	return inbox->count > 0 ? &inbox->arrivals[inbox->first] : NULL;
}

static void remove_next(struct inbox *inbox)
{
	inbox->count--;
	inbox->first = (inbox->first + 1) % ARRAY_LEN(inbox->arrivals);
}

void inbox_refuse(struct inbox *inbox, int reason)
{
	const struct arrival *next = inbox_next(inbox);

	claims_set_reason(inbox->claims, next->number, reason);
	close_fd(next->fd);
	inbox->returns = true;
	remove_next(inbox);
}

/* All up to number, but for those up to the one that is returned. */
static uint32_t claim(struct inbox *inbox, uint32_t number)
{
	uint32_t withdrawn = claims_take(inbox->claims, number);

	inbox->returns |= withdrawn != inbox->taken;
	inbox->taken = number;
	return withdrawn;
}

bool inbox_take(struct inbox *inbox, struct arrival *ret)
{
	*ret = *inbox_next(inbox);
	remove_next(inbox);
	if (claims_is_before(claim(inbox, ret->number), ret->number))
		return true;
	close_fd(ret->fd);
	return false;
}

bool inbox_finish(struct inbox *inbox)
{
	bool returns;

	assert(inbox->count == 0);
	if (inbox_waits(inbox))
		claim(inbox, inbox->last);
	returns = inbox->returns;
	inbox->returns = false;
	return returns;
}

void inbox_done(struct inbox *inbox)
{
	for (; inbox->count > 0; remove_next(inbox))
		close_fd(inbox_next(inbox)->fd);
}
