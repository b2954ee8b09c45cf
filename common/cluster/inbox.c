#include "common/cluster/inbox.h"

#include <string.h>

#include "common/macros.h"

static struct arrival *at(struct inbox *inbox, size_t index)
{
	return &inbox->arrivals[(inbox->first + index) % ARRAY_LEN(inbox->arrivals)];
}

void inbox_init(struct inbox *inbox, struct claims *claims)
{
	*inbox = (struct inbox){.claims = claims};
}

static int check(const struct inbox *inbox, const struct ipc_message *message)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;

	if (!inbox->claims->page || body->first != inbox->last + 1 ||
	    inbox->last - inbox->taken + message->tail_count > IPC_IN_FLIGHT_MAX ||
	    inbox->count + message->tail_count > IPC_IN_FLIGHT_MAX)
		return -EPROTO;
	for (size_t i = 0; i < message->tail_count; i++)
		if (peers[i].size > sizeof(((struct addr *)0)->un))
			return -EPROTO;
	return 0;
}

static void keep(struct inbox *inbox, const struct arrival *arrival)
{
	*at(inbox, inbox->count++) = *arrival;
}

int inbox_put(struct inbox *inbox, struct ipc_message *message, int reason)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;
	int error = check(inbox, message);

	if (error < 0)
		return error;
	for (size_t i = 0; i < message->tail_count; i++) {
		struct arrival arrival = {.listener = body->listener, .peer.len = peers[i].size};

		arrival.number = ++inbox->last;
		arrival.elsewhere = peers[i].elsewhere;
		claims_set_reason(inbox->claims, arrival.number, reason);
		if (reason != 0)
			continue;
		arrival.fd = take_fd(&message->fds[i]);
		memcpy(&arrival.peer.sa, peers[i].address, peers[i].size);
		keep(inbox, &arrival);
	}
	inbox->refuses |= reason != 0;
	return 0;
}

bool inbox_waits(const struct inbox *inbox)
{
	return inbox->last != inbox->taken;
}

void inbox_refuse(struct inbox *inbox, uint32_t listener, int reason)
{
	size_t kept = inbox->n_taken;

	for (size_t i = inbox->n_taken; i < inbox->count; i++) {
		const struct arrival *arrival = at(inbox, i);

		if (arrival->listener != listener) {
			*at(inbox, kept++) = *arrival;
			continue;
		}
		claims_set_reason(inbox->claims, arrival->number, reason);
		close_fd(arrival->fd);
		inbox->refuses = true;
	}
	inbox->count = kept;
}

static void refuse_new(struct inbox *inbox, int reason)
{
	for (size_t i = inbox->n_taken; i < inbox->count; i++) {
		claims_set_reason(inbox->claims, at(inbox, i)->number, reason);
		close_fd(at(inbox, i)->fd);
	}
	inbox->count = inbox->n_taken;
	inbox->refuses = true;
}

static void drop_withdrawn(struct inbox *inbox, uint32_t withdrawn)
{
	size_t kept = inbox->n_taken;

	for (size_t i = inbox->n_taken; i < inbox->count; i++) {
		if (claims_is_before(withdrawn, at(inbox, i)->number))
			*at(inbox, kept++) = *at(inbox, i);
		else
			close_fd(at(inbox, i)->fd);
	}
	inbox->count = kept;
}

bool inbox_take(struct inbox *inbox, int reason)
{
	bool tell;
	uint32_t withdrawn;

	if (!inbox_waits(inbox))
		return false;
	if (reason != 0)
		refuse_new(inbox, reason);
	withdrawn = claims_take(inbox->claims, inbox->last);
	tell = inbox->refuses || withdrawn != inbox->taken;
	if (withdrawn != inbox->taken)
		drop_withdrawn(inbox, withdrawn);
	inbox->n_taken = inbox->count;
	inbox->taken = inbox->last;
	inbox->refuses = false;
	return tell;
}

bool inbox_next(struct inbox *inbox, struct arrival *ret)
{
	if (inbox->n_taken == 0)
		return false;
	*ret = *at(inbox, 0);
	inbox->n_taken--;
	inbox->count--;
	inbox->first = (inbox->first + 1) % ARRAY_LEN(inbox->arrivals);
	return true;
}

uint32_t inbox_count(struct inbox *inbox, uint32_t listener)
{
	uint32_t count = 0;

	for (size_t i = 0; i < inbox->count; i++)
		count += at(inbox, i)->listener == listener;
	return count;
}

void inbox_done(struct inbox *inbox)
{
	for (size_t i = 0; i < inbox->count; i++)
		close_fd(at(inbox, i)->fd);
	inbox->count = inbox->n_taken = 0;
}
