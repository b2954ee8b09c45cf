#include "worker/inbox.h"

#include <string.h>

#include "common/macros.h"

static struct arrival *at(struct inbox *inbox, size_t index)
{
	return &inbox->arrivals[(inbox->first + index) % ARRAY_LEN(inbox->arrivals)];
}

static void refuse(struct inbox *inbox, uint32_t number, int reason)
{
	inbox->refused[inbox->n_refused++] = (struct ipc_refused_row){.number = number,
								      .reason = (uint32_t)reason};
}

static int check(const struct inbox *inbox, const struct ipc_message *message)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;

	if (body->first != inbox->last + 1 ||
	    inbox->last - inbox->answered + message->tail_count > IPC_IN_FLIGHT_MAX ||
	    inbox->count + message->tail_count > IPC_IN_FLIGHT_MAX)
		return -EPROTO;
	for (size_t i = 0; i < message->tail_count; i++)
		if (peers[i].size > sizeof(((struct addr *)0)->un))
			return -EPROTO;
	return 0;
}

int inbox_put(struct inbox *inbox, struct ipc_message *message, int reason, int64_t now_ms)
{
	const struct ipc_handoff *body = message->body;
	const struct ipc_peer *peers = message->tail;
	int64_t valid_until_ms = (int64_t)body->valid_until[1] << 32 | body->valid_until[0];
	int error = check(inbox, message);

	if (error < 0)
		return error;
	if (reason == 0 && now_ms >= valid_until_ms)
		reason = ETIMEDOUT;
	for (size_t i = 0; i < message->tail_count; i++) {
		inbox->last++;
		if (reason != 0) {
			refuse(inbox, inbox->last, reason);
			continue;
		}
		struct arrival *arrival = at(inbox, inbox->count++);

		*arrival = (struct arrival){
			.fd = take_fd(&message->fds[i]),
			.listener = body->listener,
			.number = inbox->last,
			.valid_until_ms = valid_until_ms,
			.peer.len = peers[i].size,
		};
		memcpy(&arrival->peer.sa, peers[i].address, peers[i].size);
	}
	return 0;
}

bool inbox_waits(const struct inbox *inbox)
{
	return inbox->last != inbox->answered;
}

void inbox_answer(struct inbox *inbox, int reason, int64_t now_ms, struct ipc_progress *ret)
{
	size_t kept = inbox->n_answered;

	for (size_t i = inbox->n_answered; i < inbox->count; i++) {
		struct arrival *arrival = at(inbox, i);

		if (reason == 0 && now_ms < arrival->valid_until_ms) {
			*at(inbox, kept++) = *arrival;
			continue;
		}
		refuse(inbox, arrival->number, reason ? reason : ETIMEDOUT);
		close_fd(arrival->fd);
	}
	inbox->count = inbox->n_answered = kept;
	inbox->answered = inbox->last;
	ret->taken = inbox->last;
}

bool inbox_take(struct inbox *inbox, int64_t now_ms, struct arrival *ret)
{
	while (inbox->n_answered > 0) {
		*ret = *at(inbox, 0);
		inbox->n_answered--;
		inbox->count--;
		inbox->first = (inbox->first + 1) % ARRAY_LEN(inbox->arrivals);
		if (now_ms < ret->valid_until_ms + IPC_GRACE_MS)
			return true;
		close_fd(ret->fd);
	}
	return false;
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
	inbox->count = inbox->n_answered = 0;
}
