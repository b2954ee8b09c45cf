/* Connections that stay, and messages that come back on them: echo (the next one when an answer is
 * there), paced (at a fixed rate), idle (one on each connection, before the start). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/load/client.h"
#include "tests/load/clock.h"
#include "tests/load/opening.h"
#include "tests/load/pace.h"
#include "tests/load/pattern.h"

/* Paced messages under way on one connection. More wait, and their latency grows meanwhile. */
#define PACED_WINDOW 64

struct exchange {
	struct client *client;
	struct net_socket *socket; /* NULL: gone */
	uint64_t number;
	uint64_t due; /* paced: messages whose time has come */
	uint64_t sent;
	uint64_t done;
	uint64_t part;   /* bytes of the next answer that are there */
	uint64_t *times; /* when each message was sent, modulo the pipeline */
	bool opened;
};

struct exchanges {
	struct opening opening;
	struct pace pace;
	bool stopped;
	uint64_t *times;
	struct exchange all[];
};

static uint64_t size_of(const struct exchange *x)
{
	return x->client->options->size;
}

static uint64_t began_ns(const struct exchange *x, uint64_t message)
{
	const struct client *c = x->client;
	const struct exchanges *e = c->state;

	if (c->paced)
		return pace_due_ns(&e->pace, message * c->connections + x->number);
	return x->times[message % c->options->pipeline];
}

static void send_messages(struct exchange *x, uint64_t count)
{
	struct client *c = x->client;
	uint64_t size = size_of(x), now = c->paced ? 0 : clock_ns();
	uint64_t position = client_position(c->first + x->number) + x->sent * size;

	if (!x->socket)
		return;
	for (uint64_t i = 0; !c->paced && i < count; i++)
		x->times[(x->sent + i) % c->options->pipeline] = now;
	x->sent += count;
	/* What is queued is bounded by the messages under way; a failure comes to on_error too. */
	net_socket_write(x->socket, pattern_at(position), size * count, NULL, NULL);
}

/* Those due, as far as the window allows. */
static void send_due(struct exchange *x)
{
	uint64_t now = clock_ns();

	while (x->socket && x->sent < x->due && x->sent - x->done < PACED_WINDOW) {
		tally_lag(x->client->tally, now - began_ns(x, x->sent));
		send_messages(x, 1);
	}
}

/* --- events --------------------------------------------------------------------------------- */

/* The connect has succeeded (and the first exchange, if the mode is idle), or failed. */
static void settle(struct exchange *x)
{
	struct exchanges *e = x->client->state;

	if (x->opened)
		return;
	x->opened = true;
	opening_settled(&e->opening);
}

static void fail(struct exchange *x, enum failure failure, const char *text)
{
	tally_failure(x->client->tally, failure, text);
	if (x->socket)
		net_socket_destroy(x->socket, 0);
}

static void on_connect(struct net_socket *socket, void *ctx)
{
	struct exchange *x = ctx;

	x->client->tally->connected++;
	if (x->client->options->mode == LOAD_IDLE)
		send_messages(x, 1);
	else
		settle(x);
}

static bool is_right(struct exchange *x, const void *data, size_t size)
{
	uint64_t received = x->done * size_of(x) + x->part;
	uint64_t position = client_position(x->client->first + x->number) + received;

	if (received + size > x->sent * size_of(x)) {
		fail(x, FAILED_BYTES, "more bytes came back than were sent");
		return false;
	}
	if (x->client->options->verify && !pattern_matches(position, data, size)) {
		fail(x, FAILED_BYTES, "other bytes came back than were sent");
		return false;
	}
	return true;
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct exchange *x = ctx;
	struct client *c = x->client;
	struct exchanges *e = c->state;
	uint64_t answered;

	if (!is_right(x, data, size))
		return;
	answered = (x->part + size) / size_of(x);
	x->part = (x->part + size) % size_of(x);
	for (uint64_t i = 0; i < answered; i++)
		tally_operation(c->tally, c->lane, began_ns(x, x->done++), size_of(x));

	settle(x);
	if (c->paced)
		send_due(x);
	else if (answered > 0 && c->options->mode != LOAD_IDLE && !e->stopped)
		send_messages(x, answered);
	client_check_end(c);
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct exchange *x = ctx;

	fail(x, x->opened ? FAILED_CONNECTION : FAILED_CONNECT, error->text);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct exchange *x = ctx;

	x->socket = NULL;
	settle(x);
	client_check_end(x->client);
}

static void on_end(struct net_socket *socket, void *ctx)
{
	fail(ctx, FAILED_CONNECTION, "the server has closed a connection");
}

static const struct net_socket_ops ops = {
	.on_connect = on_connect,
	.on_data = on_data,
	.on_end = on_end,
	.on_error = on_error,
	.on_close = on_close,
};

/* --- the work ------------------------------------------------------------------------------- */

static int connect_one(struct client *c, uint64_t number)
{
	struct exchanges *e = c->state;
	struct exchange *x = &e->all[number];
	int r;

	x->client = c;
	x->number = number;
	x->times = e->times + number * c->options->pipeline;
	r = client_connect(c, number, &ops, x, &x->socket);
	x->opened = r < 0;
	return r;
}

static int exchange_open(struct client *c)
{
	struct exchanges *e = calloc(1, sizeof(*e) + c->connections * sizeof(*e->all));

	if (!e)
		return -ENOMEM;
	e->times = calloc(c->connections * c->options->pipeline, sizeof(*e->times));
	if (!e->times) {
		free(e);
		return -ENOMEM;
	}
	c->state = e;
	return opening_begin(&e->opening, c, connect_one);
}

static void on_due(uint64_t number, uint64_t due_ns, void *ctx)
{
	struct client *c = ctx;
	struct exchanges *e = c->state;
	struct exchange *x = &e->all[number % c->connections];

	x->due++;
	send_due(x);
}

static int exchange_start(struct client *c)
{
	struct exchanges *e = c->state;

	if (c->paced)
		return pace_start(&e->pace, c->loop, c->rate, on_due, c);
	for (uint64_t i = 0; c->options->mode == LOAD_ECHO && i < c->connections; i++)
		send_messages(&e->all[i], c->options->pipeline);
	return 0;
}

static void exchange_stop(struct client *c)
{
	struct exchanges *e = c->state;

	if (e->stopped)
		return;
	e->stopped = true;
	c->tally->behind += pace_missed(&e->pace);
	pace_stop(&e->pace);
	/* Those that wait for the window are not sent any more. */
	for (uint64_t i = 0; c->paced && i < c->connections; i++) {
		c->tally->behind += e->all[i].due - e->all[i].done;
		e->all[i].due = e->all[i].done;
	}
}

static uint64_t exchange_pending(const struct client *c)
{
	const struct exchanges *e = c->state;
	uint64_t pending = 0;

	for (uint64_t i = 0; i < c->connections; i++)
		pending += e->all[i].socket ? e->all[i].sent - e->all[i].done : 0;
	return pending;
}

const struct work work_exchange = {
	.open = exchange_open,
	.start = exchange_start,
	.stop = exchange_stop,
	.pending = exchange_pending,
};
