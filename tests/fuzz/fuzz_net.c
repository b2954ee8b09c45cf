/* Random calls on two sockets whose peers are played by the input as well, and now and then on a
 * server. What is sent arrives in order and unchanged, on_close comes once and last, counters fit,
 * and nothing leaks. Each byte is one step; some take the next byte as an amount. */
#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/socket.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

#define SOCKETS 2

struct side {
	struct net_socket *socket; /* NULL after on_close */
	int peer;                  /* -1 when closed */
	bool closed;
	bool piped;           /* others write to it as well */
	uint64_t written;     /* accepted from this program */
	uint64_t seen;        /* by the peer */
	uint64_t outstanding; /* completions that are due */
};

static struct ev_loop *loop;
static struct side sides[SOCKETS];
static uint8_t pattern[1 << 17];

/* The stream that each side writes: position p holds the byte p * 131. */
static void check_stream(struct side *side, const uint8_t *data, size_t size)
{
	if (!side->piped)
		for (size_t i = 0; i < size; i++)
			assert(data[i] == (uint8_t)((side->seen + i) * 131));
	side->seen += size;
}

static void peer_reads(struct side *side, size_t most)
{
	static uint8_t data[1 << 17];
	ssize_t n;

	if (side->peer < 0)
		return;
	n = recv(side->peer, data, most < sizeof(data) ? most : sizeof(data), MSG_DONTWAIT);
	if (n > 0)
		check_stream(side, data, (size_t)n);
}

static void peer_writes(struct side *side, size_t size)
{
	if (side->peer >= 0)
		send(side->peer, pattern, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void peer_closes(struct side *side, bool only_writing)
{
	if (side->peer < 0)
		return;
	if (only_writing) {
		shutdown(side->peer, SHUT_WR);
		return;
	}
	close(side->peer);
	side->peer = -1;
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	const struct side *side = ctx;

	assert(!side->closed && size > 0);
	assert(!net_socket_destroyed(socket));
}

static void on_event(struct net_socket *socket, void *ctx)
{
	const struct side *side = ctx;

	assert(!side->closed && side->socket == socket);
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	const struct side *side = ctx;

	assert(!side->closed && error->code < 0 && error->text[0] != '\0');
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct side *side = ctx;

	assert(!side->closed && side->outstanding == 0);
	side->closed = true;
	side->socket = NULL;
}

static const struct net_socket_ops ops = {.on_data = on_data,
					  .on_drain = on_event,
					  .on_end = on_event,
					  .on_finish = on_event,
					  .on_timeout = on_event,
					  .on_error = on_error,
					  .on_close = on_close};
static const struct net_socket_ops deaf_ops = {.on_end = on_event, .on_close = on_close};

static void on_done(struct net_socket *socket, int status, void *ctx)
{
	struct side *side = ctx;

	assert(side->outstanding > 0);
	side->outstanding--;
}

/* --- steps ----------------------------------------------------------------------------------- */

static void write_some(struct side *side, size_t size, bool ends)
{
	const uint8_t *data = pattern + side->written % 256;
	int r;

	side->outstanding++;
	r = ends ? net_socket_end(side->socket, data, size, on_done, side)
		 : net_socket_write(side->socket, data, size, on_done, side);
	assert(r != -EINVAL && r != -ENOMEM);
	if (r >= 0)
		side->written += size;
}

static void step_socket(struct side *side, struct side *other, uint8_t what, uint8_t amount)
{
	struct net_socket *s = side->socket;

	switch (what) {
	case 0:
		write_some(side, amount, false);
		break;
	case 1:
		write_some(side, (size_t)amount << 8, false);
		break;
	case 2:
		write_some(side, 0, true);
		break;
	case 3:
		write_some(side, amount, true);
		break;
	case 4:
		net_socket_pause(s);
		break;
	case 5:
		net_socket_resume(s);
		break;
	case 6:
		net_socket_cork(s);
		break;
	case 7:
		net_socket_uncork(s);
		break;
	case 8:
		net_socket_set_encoding(s, amount % (NET_ENCODING_HEX + 1));
		break;
	case 9:
		net_socket_set_ops(s, amount % 2 ? &ops : &deaf_ops, side);
		break;
	case 10:
		net_socket_set_timeout(s, amount % 3, NULL, NULL);
		break;
	case 11:
		if (other->socket && net_socket_pipe(s, other->socket) == 0)
			other->piped = true;
		break;
	case 12:
		net_socket_unpipe(s);
		break;
	case 13:
		net_socket_destroy(s, amount % 2 ? -EPROTO : 0);
		break;
	case 14:
		net_socket_destroy_soon(s);
		break;
	default:
		net_socket_unref(s);
		net_socket_ref(s);
		break;
	}
}

static void step(uint8_t what, uint8_t amount)
{
	struct side *side = &sides[what & 1], *other = &sides[!(what & 1)];

	what >>= 1;
	switch (what % 24) {
	case 16:
	case 17:
	case 18:
		ev_run(loop, EVRUN_NOWAIT);
		break;
	case 19:
		peer_reads(side, (size_t)amount << 4);
		break;
	case 20:
		peer_writes(side, (size_t)amount << 3);
		break;
	case 21:
		peer_writes(side, sizeof(pattern));
		break;
	case 22:
		peer_reads(side, SIZE_MAX);
		break;
	case 23:
		if (amount < 32)
			peer_closes(side, amount % 2);
		break;
	default:
		if (side->socket)
			step_socket(side, other, what % 24, amount);
		break;
	}
}

static void begin(struct side *side, uint8_t flags)
{
	struct net_socket_options options = {.has_fd = true,
					     .allow_half_open = flags & 1,
					     .high_water_mark = flags & 2 ? 100 : 0,
					     .write_limit = flags & 4 ? 1 << 18 : 0};
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		abort();
	*side = (struct side){.peer = pair[1]};
	options.fd = pair[0];
	if (net_socket_new(loop, &options, &ops, side, &side->socket) < 0)
		abort();
}

static void finish(struct side *side)
{
	if (side->socket) {
		assert(net_socket_bytes_written(side->socket) >= side->written);
		net_socket_destroy(side->socket, 0);
	}
	for (int i = 0; i < 3 && side->socket; i++)
		ev_run(loop, EVRUN_NOWAIT);
	assert(side->closed && side->outstanding == 0);
	if (!side->piped)
		peer_reads(side, SIZE_MAX);
	assert(side->piped || side->seen <= side->written);
	peer_closes(side, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	if (!loop) {
		loop = ev_loop_new(EVFLAG_AUTO);
		for (size_t i = 0; i < sizeof(pattern); i++)
			pattern[i] = (uint8_t)(i * 131);
	}
	if (size < 2 || !loop)
		return 0;

	for (size_t i = 0; i < SOCKETS; i++)
		begin(&sides[i], input[i]);
	for (size_t i = 2; i + 1 < size && i < 600; i += 2)
		step(input[i], input[i + 1]);
	for (size_t i = 0; i < SOCKETS; i++)
		finish(&sides[i]);
	return 0;
}
