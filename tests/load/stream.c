/* Connections that send as fast as the server takes it, and read what it sends back. */
#include <errno.h>
#include <stdlib.h>

#include "tests/load/client.h"
#include "tests/load/clock.h"
#include "tests/load/opening.h"
#include "tests/load/pattern.h"

/* Sent and not yet back, for each connection: more than the socket buffers of both ends and of a
 * proxy hold, so that only the server's pace counts. */
#define WINDOW (16 << 20)

struct stream {
	struct client *client;
	struct net_socket *socket; /* NULL: gone */
	uint64_t number;
	uint64_t sent;
	uint64_t received;
	bool opened;
	bool writing; /* a write has not been told to be over */
};

struct streams {
	struct opening opening;
	bool running;
	struct stream all[];
};

static void settle(struct stream *s)
{
	struct streams *all = s->client->state;

	if (s->opened)
		return;
	s->opened = true;
	opening_settled(&all->opening);
}

static void fail(struct stream *s, enum failure failure, const char *text)
{
	tally_failure(s->client->tally, failure, text);
	if (s->socket)
		net_socket_destroy(s->socket, 0);
}

static void write_more(struct stream *s);

static void on_written(struct net_socket *socket, int status, void *ctx)
{
	struct stream *s = ctx;

	s->writing = false;
	if (status == 0)
		write_more(s);
}

/* One write at a time: the next when the kernel has taken the last one. */
static void write_more(struct stream *s)
{
	const struct streams *all = s->client->state;
	uint64_t size = s->client->options->size;
	uint64_t position = client_position(s->client->first + s->number) + s->sent;

	if (!all->running || !s->socket || s->writing || s->sent - s->received > WINDOW)
		return;
	s->writing = true;
	s->sent += size;
	if (net_socket_write(s->socket, pattern_at(position), size, on_written, s) < 0)
		s->writing = false; /* on_error says why */
}

/* --- events --------------------------------------------------------------------------------- */

static void on_connect(struct net_socket *socket, void *ctx)
{
	struct stream *s = ctx;

	s->client->tally->connected++;
	settle(s);
}

/* An operation is a message's size of bytes that came back. */
static void count(struct stream *s, uint64_t size)
{
	uint64_t message = s->client->options->size;
	uint64_t before = s->received / message;
	struct tally *t = s->client->tally;

	s->received += size;
	tally_bytes(t, s->client->lane, size);
	t->operations += s->received / message - before;
	if (t->measuring)
		t->lanes[s->client->lane].operations += s->received / message - before;
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct stream *s = ctx;
	uint64_t position = client_position(s->client->first + s->number) + s->received;

	if (s->received + size > s->sent) {
		fail(s, FAILED_BYTES, "more bytes came back than were sent");
		return;
	}
	if (s->client->options->verify && !pattern_matches(position, data, size)) {
		fail(s, FAILED_BYTES, "other bytes came back than were sent");
		return;
	}
	count(s, size);
	write_more(s);
	client_check_end(s->client);
}

static void on_end(struct net_socket *socket, void *ctx)
{
	fail(ctx, FAILED_CONNECTION, "the server has closed a connection");
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct stream *s = ctx;

	fail(s, s->opened ? FAILED_CONNECTION : FAILED_CONNECT, error->text);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct stream *s = ctx;

	s->socket = NULL;
	settle(s);
	client_check_end(s->client);
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
	struct streams *all = c->state;
	struct stream *s = &all->all[number];
	int r;

	s->client = c;
	s->number = number;
	r = client_connect(c, number, &ops, s, &s->socket);
	s->opened = r < 0;
	return r;
}

static int stream_open(struct client *c)
{
	struct streams *all = calloc(1, sizeof(*all) + c->connections * sizeof(*all->all));

	if (!all)
		return -ENOMEM;
	c->state = all;
	return opening_begin(&all->opening, c, connect_one);
}

static int stream_start(struct client *c)
{
	struct streams *all = c->state;

	all->running = true;
	for (uint64_t i = 0; i < c->connections; i++)
		write_more(&all->all[i]);
	return 0;
}

static void stream_stop(struct client *c)
{
	struct streams *all = c->state;

	all->running = false;
}

static uint64_t stream_pending(const struct client *c)
{
	const struct streams *all = c->state;
	uint64_t pending = 0;

	for (uint64_t i = 0; i < c->connections; i++)
		pending += all->all[i].socket && all->all[i].received < all->all[i].sent;
	return pending;
}

const struct work work_stream = {
	.open = stream_open,
	.start = stream_start,
	.stop = stream_stop,
	.pending = stream_pending,
};
