/* Short connections: connect, one exchange, close; so many at a time, or begun at a fixed rate. */
#include <errno.h>
#include <stdlib.h>

#include "common/macros.h"
#include "tests/load/client.h"
#include "tests/load/clock.h"
#include "tests/load/pace.h"
#include "tests/load/pattern.h"

/* A target that refuses is asked again so often, not in a hot loop. */
#define RETRY_SECONDS 0.01

/* One connection at a time. */
struct slot {
	struct client *client;
	struct slot *next_free; /* of the free ones */
	uint64_t number;        /* of its connection */
	uint64_t began_ns;
	uint64_t received;
	bool connected;
	bool failed;
	bool answered;
};

struct churn {
	struct pace pace;
	ev_timer retry;
	struct client *client;
	struct slot *free;
	uint64_t busy;
	uint64_t begun; /* connections */
	uint64_t due;   /* paced: those whose time has come */
	bool running;
	struct slot slots[];
};

static void begin_more(struct churn *h);

static void fail(struct slot *slot, enum failure failure, const char *text)
{
	if (!slot->failed)
		tally_failure(slot->client->tally, failure, text);
	slot->failed = true;
}

static void free_slot(struct slot *slot)
{
	struct churn *h = slot->client->state;

	slot->next_free = h->free;
	h->free = slot;
	h->busy--;
	/* The next connection: at once if all is well. */
	if (!slot->failed) {
		begin_more(h);
	} else if (!ev_is_active(&h->retry)) {
		ev_timer_set(&h->retry, RETRY_SECONDS, 0);
		ev_timer_start(slot->client->loop, &h->retry);
	}
	client_check_end(slot->client);
}

/* --- events --------------------------------------------------------------------------------- */

static void on_connect(struct net_socket *socket, void *ctx)
{
	struct slot *slot = ctx;

	slot->connected = true;
	slot->client->tally->connected++;
	net_socket_write(socket, pattern_at(client_position(slot->number)),
			 slot->client->options->size, NULL, NULL);
}

static void finish(struct net_socket *socket, struct slot *slot)
{
	slot->answered = true;
	tally_operation(slot->client->tally, slot->client->lane, slot->began_ns, slot->received);
	if (!slot->client->options->reset || net_socket_reset_and_destroy(socket) < 0)
		net_socket_destroy(socket, 0);
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct slot *slot = ctx;
	const struct load_options *o = slot->client->options;
	uint64_t position = client_position(slot->number) + slot->received;

	slot->received += size;
	if (slot->received > o->size)
		fail(slot, FAILED_BYTES, "more bytes came back than were sent");
	else if (o->verify && !pattern_matches(position, data, size))
		fail(slot, FAILED_BYTES, "other bytes came back than were sent");

	if (slot->failed)
		net_socket_destroy(socket, 0);
	else if (slot->received == o->size)
		finish(socket, slot);
}

static void on_end(struct net_socket *socket, void *ctx)
{
	fail(ctx, FAILED_CONNECTION, "the server has closed a connection");
	net_socket_destroy(socket, 0);
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct slot *slot = ctx;

	fail(slot, slot->connected ? FAILED_CONNECTION : FAILED_CONNECT, error->text);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct slot *slot = ctx;

	if (!slot->answered)
		fail(slot, FAILED_CONNECTION, "a connection was closed before its answer");
	free_slot(slot);
}

static const struct net_socket_ops ops = {
	.on_connect = on_connect,
	.on_data = on_data,
	.on_end = on_end,
	.on_error = on_error,
	.on_close = on_close,
};

/* --- the work ------------------------------------------------------------------------------- */

static uint64_t began_ns(const struct churn *h)
{
	uint64_t now = clock_ns();

	if (!h->client->paced)
		return now;
	tally_lag(h->client->tally, now - pace_due_ns(&h->pace, h->begun));
	return pace_due_ns(&h->pace, h->begun);
}

static void begin_one(struct churn *h)
{
	struct slot *slot = h->free;
	struct net_socket *socket;
	int r;

	h->free = slot->next_free;
	h->busy++;
	*slot = (struct slot){.client = h->client, .began_ns = began_ns(h), .number = h->begun};
	h->begun++;
	r = client_connect(h->client, slot->number, &ops, slot, &socket);
	if (r < 0) {
		fail(slot, FAILED_CONNECT, net_error_message(r));
		free_slot(slot);
	}
}

static void begin_more(struct churn *h)
{
	while (h->running && h->free && !ev_is_active(&h->retry) &&
	       (!h->client->paced || h->begun < h->due))
		begin_one(h);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
	begin_more(CONTAINER_OF(timer, struct churn, retry));
}

static void on_due(uint64_t number, uint64_t due_ns, void *ctx)
{
	struct churn *h = ctx;

	h->due = number + 1;
	begin_more(h);
}

static int churn_open(struct client *c)
{
	struct churn *h = calloc(1, sizeof(*h) + c->connections * sizeof(*h->slots));

	if (!h)
		return -ENOMEM;
	h->client = c;
	for (uint64_t i = 0; i < c->connections; i++) {
		h->slots[i].next_free = h->free;
		h->free = &h->slots[i];
	}
	ev_init(&h->retry, on_retry);
	c->state = h;
	client_ready(c);
	return 0;
}

static int churn_start(struct client *c)
{
	struct churn *h = c->state;

	h->running = true;
	if (c->paced)
		return pace_start(&h->pace, c->loop, c->rate, on_due, h);
	begin_more(h);
	return 0;
}

static void churn_stop(struct client *c)
{
	struct churn *h = c->state;

	c->tally->behind += c->paced && h->running ? h->due - h->begun + h->busy : 0;
	c->tally->behind += pace_missed(&h->pace);
	h->running = false;
	pace_stop(&h->pace);
}

static uint64_t churn_pending(const struct client *c)
{
	const struct churn *h = c->state;

	return h->busy;
}

const struct work work_churn = {
	.open = churn_open,
	.start = churn_start,
	.stop = churn_stop,
	.pending = churn_pending,
};
