#include "common/cluster/handoff.h"

#include <stdlib.h>
#include <string.h>

#include "common/cluster/source.h"
#include "common/macros.h"

/* Whether a number comes before another, though they wrap around. */
static bool is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

void transit_free(struct transit *t)
{
	close_fd(t->fd);
	free(t);
}

void handoff_init(struct handoff *h)
{
	*h = (struct handoff){0};
	TAILQ_INIT(&h->transits);
}

void handoff_done(struct handoff *h)
{
	struct transit *t;

	while ((t = TAILQ_FIRST(&h->transits))) {
		TAILQ_REMOVE(&h->transits, t, link);
		transit_free(t);
	}
}

/* By number: what is late has gone elsewhere, but still waits in front of the worker. */
uint32_t handoff_unanswered(const struct handoff *h)
{
	return h->last - h->taken;
}

bool handoff_has_room(const struct handoff *h)
{
	return !h->late && !h->full && handoff_unanswered(h) < IPC_IN_FLIGHT_MAX;
}

void handoff_add(struct handoff *h, struct transit *t)
{
	t->number = ++h->last;
	t->deadline_ms = 0;
	TAILQ_INSERT_TAIL(&h->transits, t, link);
}

static void give_back(struct handoff *h, struct transit *t, struct transit_list *ret)
{
	TAILQ_REMOVE(&h->transits, t, link);
	TAILQ_INSERT_TAIL(ret, t, link);
}

/* --- sending -------------------------------------------------------------------------------- */

/* The message of some connections of one source. */
struct batch {
	struct ipc_handoff body;
	struct ipc_peer peers[IPC_FDS_MAX];
	int fds[IPC_FDS_MAX];
	size_t count;
};

static void put(struct batch *batch, const struct transit *t)
{
	struct ipc_peer *peer = &batch->peers[batch->count];

	memset(peer, 0, sizeof(*peer));
	peer->size = t->peer.len;
	memcpy(peer->address, &t->peer.sa, t->peer.len);
	batch->fds[batch->count++] = t->fd;
}

/* As many from t on as go into one message. Returns the first one that does not. */
static struct transit *fill(struct batch *batch, struct transit *t, int64_t valid_until_ms)
{
	const struct source *source = t->source;

	batch->count = 0;
	batch->body = (struct ipc_handoff){
		.listener = source->id,
		.first = t->number,
		.valid_until = {(uint32_t)valid_until_ms, (uint32_t)(valid_until_ms >> 32)},
	};
	for (; t && t->source == source && batch->count < ARRAY_LEN(batch->fds);
	     t = TAILQ_NEXT(t, link)) {
		t->deadline_ms = valid_until_ms + IPC_GRACE_MS;
		put(batch, t);
	}
	return t;
}

static struct transit *first_unsent(const struct handoff *h)
{
	struct transit *t, *first = NULL;

	TAILQ_FOREACH_REVERSE(t, &h->transits, transit_list, link)
	{
		if (!is_before(h->sent, t->number))
			break;
		first = t;
	}
	return first;
}

int handoff_send(struct handoff *h, struct channel *channel, int64_t now_ms,
		 struct transit_list *ret)
{
	struct transit *t = first_unsent(h), *next;
	struct batch batch;
	int error = 0;

	while (t && error == 0) {
		next = fill(&batch, t, now_ms + IPC_VALID_MS);
		error = channel_send(channel, IPC_HANDOFF, &batch.body, batch.peers, batch.count,
				     batch.fds);
		if (error == -EPIPE)
			error = 0;
		if (error == 0) {
			h->sent += (uint32_t)batch.count;
			t = next;
		}
	}
	if (error == 0)
		return 0;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, link);
		give_back(h, t, ret);
	}
	h->last = h->sent;
	h->full = true;
	return error;
}

/* --- answers -------------------------------------------------------------------------------- */

static bool was_sent(const struct handoff *h, uint32_t number)
{
	return is_before(h->taken, number) && !is_before(h->sent, number);
}

int handoff_taken(struct handoff *h, uint32_t number)
{
	struct transit *t;

	if (number != h->taken && !was_sent(h, number))
		return -EPROTO;
	if (number != h->taken)
		h->late = false;
	h->taken = number;
	while ((t = TAILQ_FIRST(&h->transits)) && !is_before(number, t->number)) {
		TAILQ_REMOVE(&h->transits, t, link);
		transit_free(t);
	}
	return 0;
}

int handoff_refused(struct handoff *h, uint32_t number, int reason, struct transit **ret)
{
	struct transit *t;

	if (!was_sent(h, number))
		return -EPROTO;
	/* Being late is over once it has answered; all else lasts a while. */
	if (reason != ETIMEDOUT)
		h->full = true;
	*ret = NULL;
	TAILQ_FOREACH (t, &h->transits, link) {
		if (t->number != number)
			continue;
		TAILQ_REMOVE(&h->transits, t, link);
		*ret = t;
		break;
	}
	return 0;
}

void handoff_retry(struct handoff *h)
{
	h->full = false;
}

/* --- no answer ------------------------------------------------------------------------------ */

void handoff_expire(struct handoff *h, int64_t now_ms, struct transit_list *ret)
{
	struct transit *t;

	while ((t = TAILQ_FIRST(&h->transits)) && t->deadline_ms > 0 && t->deadline_ms <= now_ms) {
		give_back(h, t, ret);
		h->late = true;
	}
}

void handoff_end(struct handoff *h, struct transit_list *ret)
{
	TAILQ_CONCAT(ret, &h->transits, link);
	handoff_init(h);
}

void handoff_count(const struct handoff *h, uint32_t *counts, size_t n)
{
	const struct transit *t;

	TAILQ_FOREACH (t, &h->transits, link)
		if (t->source && t->source->id < n)
			counts[t->source->id]++;
}

void handoff_forget(struct handoff *h, const struct source *source)
{
	struct transit *t;

	TAILQ_FOREACH (t, &h->transits, link)
		if (t->source == source)
			t->source = NULL;
}

int64_t handoff_deadline_ms(const struct handoff *h)
{
	const struct transit *t = TAILQ_FIRST(&h->transits);

	return t ? t->deadline_ms : 0;
}
