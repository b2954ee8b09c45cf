#include "common/cluster/handoff.h"

#include <stdlib.h>
#include <string.h>

#include "common/cluster/source.h"
#include "common/macros.h"

/* Who leaves so many messages unread beyond what the kernel holds is given no connections: those
 * that wait there have descriptors of ours, whatever the worker says to have taken. */
#define UNREAD_MAX 16

void transit_free(struct transit *t)
{
	close_fd(t->fd);
	free(t);
}

void transit_count(const struct transit_list *transits, uint32_t *counts, size_t n)
{
	const struct transit *t;

	TAILQ_FOREACH (t, transits, link)
		if (t->source && t->source->id < n)
			counts[t->source->id]++;
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
	claims_close(&h->claims);
}

int handoff_open(struct handoff *h, int *ret_fd)
{
	claims_close(&h->claims);
	return claims_new(&h->claims, ret_fd);
}

static bool can_look(const struct handoff *h)
{
	return h->claims.page && !h->broken;
}

/* By number: what is late has gone elsewhere, but still waits in front of the worker. */
uint32_t handoff_unanswered(const struct handoff *h)
{
	return h->last - h->taken;
}

bool handoff_has_room(const struct handoff *h)
{
	return can_look(h) && !h->late && h->full == 0 && handoff_unanswered(h) < IPC_IN_FLIGHT_MAX;
}

bool handoff_has_unsent(const struct handoff *h)
{
	return h->last != h->sent;
}

void handoff_add(struct handoff *h, struct transit *t)
{
	t->number = ++h->last;
	t->deadline_ms = 0;
	TAILQ_INSERT_TAIL(&h->transits, t, link);
}

static bool is_metered(const struct transit *t)
{
	return t->source && t->source->meter;
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
	peer->elsewhere = t->elsewhere;
	peer->size = t->peer.len;
	memcpy(peer->address, &t->peer.sa, t->peer.len);
	batch->fds[batch->count++] = t->fd;
}

/* As many from t on as go into one message. Returns the first one that does not. */
static struct transit *fill(struct batch *batch, struct transit *t, int64_t deadline_ms)
{
	const struct source *source = t->source;

	batch->count = 0;
	batch->body = (struct ipc_handoff){
		.listener = source->id,
		.first = t->number,
	};
	for (; t && t->source == source && batch->count < ARRAY_LEN(batch->fds);
	     t = TAILQ_NEXT(t, link)) {
		t->deadline_ms = deadline_ms;
		put(batch, t);
	}
	return t;
}

static struct transit *first_unsent(const struct handoff *h)
{
	struct transit *t, *first = NULL;

	TAILQ_FOREACH_REVERSE(t, &h->transits, transit_list, link)
	{
		if (!claims_is_before(h->sent, t->number))
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
	int error = t && channel->queued_messages >= UNREAD_MAX ? -EAGAIN : 0;

	while (t && error == 0) {
		next = fill(&batch, t, now_ms + HANDOFF_PATIENCE_MS);
		error = channel_tell(channel, IPC_HANDOFF, &batch.body, batch.peers, batch.count,
				     batch.fds);
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
	h->full = -error;
	return error;
}

/* --- taken ---------------------------------------------------------------------------------- */

static bool is_sent(const struct handoff *h, uint32_t number)
{
	return !claims_is_before(number, h->taken) && !claims_is_before(h->sent, number);
}

/* What the worker has written is what it may write. */
static bool is_sound(const struct handoff *h, struct claims_state state)
{
	uint32_t withdrawn = claims_is_before(h->withdrawn, state.taken) ? state.taken
									 : h->withdrawn;

	return is_sent(h, state.taken) && state.withdrawn == withdrawn;
}

/* It has taken all up to number. */
static void settle(struct handoff *h, uint32_t number, struct transit_list *ret)
{
	struct transit *t;
	int reason;

	while ((t = TAILQ_FIRST(&h->transits)) && !claims_is_before(number, t->number)) {
		reason = claims_reason(&h->claims, t->number);
		if (reason == 0) {
			TAILQ_REMOVE(&h->transits, t, link);
			if (is_metered(t))
				t->source->meter->taken(t->source, h);
			transit_free(t);
			continue;
		}
		give_back(h, t, ret);
		h->full = reason;
	}
	if (number == h->taken)
		return;
	h->late = false;
	h->taken = number;
	if (claims_is_before(h->withdrawn, number))
		h->withdrawn = number;
	claims_let_go(&h->claims, number);
}

/* One that lies is looked at no more. */
static int read_claims(struct handoff *h, struct claims_state *ret)
{
	*ret = claims_read(&h->claims);
	if (is_sound(h, *ret))
		return 0;
	h->broken = true;
	return -EPROTO;
}

int handoff_look(struct handoff *h, struct transit_list *ret)
{
	struct claims_state state;
	int error;

	if (!can_look(h) || h->by_message)
		return 0;
	error = read_claims(h, &state);
	if (error == 0)
		settle(h, state.taken, ret);
	return error;
}

int handoff_told(struct handoff *h, uint32_t taken, struct transit_list *ret)
{
	struct claims_state state;
	int error;

	if (!can_look(h))
		return -EPROTO;
	error = read_claims(h, &state);
	if (error < 0)
		return error;
	if (!h->by_message)
		taken = state.taken;
	else if (claims_is_before(taken, h->taken))
		taken = h->taken; /* said before it was to tell by message */
	if (!is_sent(h, taken) || claims_is_before(state.taken, taken))
		return -EPROTO;
	settle(h, taken, ret);
	return 0;
}

void handoff_retry(struct handoff *h)
{
	h->full = 0;
}

bool handoff_want_bell(struct handoff *h, bool wanted)
{
	if (!h->claims.page || h->bell == wanted)
		return false;
	h->bell = wanted;
	claims_want_bell(&h->claims, wanted);
	return wanted;
}

/* --- not taken ------------------------------------------------------------------------------ */

static bool is_overdue(const struct handoff *h, int64_t now_ms)
{
	const struct transit *t = TAILQ_FIRST(&h->transits);

	return t && t->deadline_ms > 0 && t->deadline_ms <= now_ms;
}

static void give_back_after(struct handoff *h, uint32_t taken, struct transit_list *ret)
{
	struct transit *t, *next;

	for (t = TAILQ_FIRST(&h->transits); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (!claims_is_before(taken, t->number))
			continue;
		t->elsewhere = true;
		give_back(h, t, ret);
		if (is_metered(t))
			t->source->meter->late(t->source, h);
	}
}

/* It takes what it takes before we withdraw the rest, and each time there is less of it: who
 * changes the page more often than that lies. */
static int withdraw(struct handoff *h, struct claims_state *ret)
{
	for (int i = 0; i <= IPC_IN_FLIGHT_MAX; i++) {
		int error = read_claims(h, ret);

		if (error < 0)
			return error;
		if (claims_withdraw(&h->claims, ret, h->sent)) {
			h->withdrawn = h->sent;
			return 0;
		}
	}
	h->broken = true;
	return -EPROTO;
}

int handoff_expire(struct handoff *h, int64_t now_ms, struct transit_list *ret)
{
	struct claims_state state;
	int error;

	if (!can_look(h) || !is_overdue(h, now_ms))
		return 0;
	error = withdraw(h, &state);
	if (error < 0)
		return error;
	give_back_after(h, state.taken, ret);
	/* What it has taken in time it may still have to tell. */
	h->late = claims_is_before(state.taken, h->sent);
	return 0;
}

void handoff_end(struct handoff *h, struct transit_list *ret)
{
	struct claims_state state;

	/* Who was sent SIGKILL may still be about to take some. */
	if (can_look(h) && withdraw(h, &state) == 0)
		settle(h, state.taken, ret);
	TAILQ_CONCAT(ret, &h->transits, link);
	claims_close(&h->claims);
	handoff_init(h);
}

bool handoff_has_ghosts(const struct handoff *h)
{
	return claims_is_before(h->taken, h->withdrawn);
}

uint32_t handoff_count_of(const struct handoff *h, const struct source *source)
{
	const struct transit *t;
	uint32_t count = 0;

	TAILQ_FOREACH (t, &h->transits, link)
		count += t->source == source;
	return count;
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
