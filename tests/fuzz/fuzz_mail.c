/* Fuzzes one end of an exchange of user messages: whatever the other one sends, and whatever is
 * done here meanwhile.
 *
 * The input is a list of steps. Each completion runs once, no function is called inside a call, no
 * descriptor is left, and nothing is told after the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cluster/mail.h"
#include "common/fdpass.h"
#include "common/macros.h"
#include "common/net/addr.h"
#include "tests/helpers/fds.h"

#define REQUIRE(condition)        \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

#define STEPS_MAX   64
#define SOCKETS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

struct world {
	struct ev_loop *loop;
	struct channel channel;
	struct mail *mail;
	int bare;
	struct net_server *server;
	struct net_socket *sockets[SOCKETS_MAX];
	size_t socket_count;
	unsigned owed; /* completions */
	unsigned counts;
	bool in_call;
	bool is_over;
	uint32_t in_number;  /* what the other end would send next, if it were honest */
	uint32_t out_number; /* of the last handle that it got */
};

/* --- what comes from the input --------------------------------------------------------------- */

static uint8_t take_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

/* Mostly what makes sense, at times anything. */
static uint32_t take_number(struct input *input, uint32_t sensible)
{
	uint8_t choice = take_byte(input);

	if (choice < 160)
		return sensible;
	if (choice < 200)
		return sensible + choice - 180;
	if (choice < 240)
		return (uint32_t)take_byte(input) << (choice % 4 * 8);
	return UINT32_MAX - take_byte(input);
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_done(struct mail *mail, int status, void *ctx)
{
	struct world *w = ctx;

	REQUIRE(!w->in_call && !w->is_over && w->owed > 0 && status <= 0);
	w->owed--;
}

static void on_counted(struct net_server *server, int status, size_t count, void *ctx)
{
	struct world *w = ctx;

	REQUIRE(!w->in_call && !w->is_over && w->counts > 0 && status == 0);
	w->counts--;
}

static void keep(struct world *w, struct net_socket *s)
{
	if (w->socket_count == SOCKETS_MAX) {
		net_socket_destroy(s, 0);
		return;
	}
	net_socket_hold(s);
	w->sockets[w->socket_count++] = s;
}

static void on_message(struct mail *mail, const struct mail_message *m, void *ctx)
{
	struct world *w = ctx;
	volatile char sum = 0;

	REQUIRE(!w->in_call && !w->is_over && m->size <= MAIL_SIZE_MAX);
	REQUIRE(!m->socket || !m->server);
	for (size_t i = 0; i < m->size; i++)
		sum += ((const char *)m->data)[i];
	if (m->socket)
		keep(w, m->socket);
	(void)sum;
	net_server_free(m->server);
}

static const struct mail_ops mail_ops = {.on_message = on_message};

static void on_channel(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct world *w = ctx;
	const char *why = NULL;

	if (!mail_is_ours(message->type) || mail_take(w->mail, message, &why) == 0)
		return;
	REQUIRE(why);
	channel_close(channel);
	mail_close(w->mail);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct world *w = ctx;

	mail_close(w->mail);
}

static const struct channel_ops channel_ops = {.on_message = on_channel, .on_lost = on_lost};

static void on_connection(struct net_server *server, struct net_socket *s, void *ctx)
{
	keep(ctx, s);
}

static const struct net_server_ops server_ops = {.on_connection = on_connection};

/* --- what the other end sends ---------------------------------------------------------------- */

static void send_raw(struct world *w, enum ipc_type type, const void *body, const void *tail,
		     size_t count, int fd)
{
	static uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t)];
	int size = ipc_encode(type, body, tail, count, packet);
	struct iovec part = {packet, (size_t)size};

	if (size > 0)
		fdpass_send(w->bare, &part, 1, &fd, fd >= 0);
	close_fd(fd);
}

static void send_piece(struct world *w, struct input *input)
{
	static const char bytes[60000];
	size_t count = take_byte(input) * (size_t)take_byte(input);
	struct ipc_mail body = {.number = take_number(input, w->in_number)};

	if (count > sizeof(bytes))
		count = sizeof(bytes);
	body.size = take_number(input, (uint32_t)count);
	body.offset = take_number(input, 0);
	if (body.size == count && body.number == w->in_number)
		w->in_number++;
	send_raw(w, IPC_MAIL, &body, bytes, count, -1);
}

static int some_fd(struct input *input)
{
	struct sockaddr any = {.sa_family = AF_UNIX};
	int fd;

	switch (take_byte(input) % 4) {
	case 0:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	case 1:
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(fd, &any, sizeof(any.sa_family)) == -1 || listen(fd, 1) == -1)
			abort();
		return fd;
	default:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
}

static void send_handle(struct world *w, struct input *input)
{
	struct ipc_handle head = {.number = take_number(input, w->in_number)};
	struct ipc_handle_row row = {.flags = take_number(input, take_byte(input) % 32)};

	head.kind = take_number(input, 1 + take_byte(input) % 2);
	head.unread = take_number(input, take_byte(input) % 4);
	head.key[0] = take_byte(input) % 4;
	row.high_water_mark = take_number(input, 0);
	row.peer.size = take_number(input, 0);
	row.peer.address[0] = take_byte(input) % 12;
	send_raw(w, IPC_HANDLE, &head, &row, 1, some_fd(input));
}

static void send_answer(struct world *w, struct input *input)
{
	uint32_t number = take_number(input, w->out_number);
	uint32_t status = take_number(input, 0);

	send_raw(w, IPC_ANSWERED, &(struct ipc_answered){number, status}, NULL, 0, -1);
}

static void send_sockets(struct world *w, struct input *input)
{
	struct ipc_sockets body = {.request = take_number(input, 1), .key = {take_byte(input) % 4}};
	uint32_t count = take_number(input, 1);

	switch (take_byte(input) % 5) {
	case 0:
		send_raw(w, IPC_SOCKETS_COUNT, &body, NULL, 0, -1);
		break;
	case 1:
		send_raw(w, IPC_SOCKETS_COUNTED, &(struct ipc_sockets_counted){body.request, count},
			 NULL, 0, -1);
		break;
	case 2:
		send_raw(w, IPC_SOCKETS_CLOSE, &body, NULL, 0, -1);
		break;
	case 3:
		send_raw(w, IPC_SOCKETS_CLOSED, &(struct ipc_sockets_closed){body.request}, NULL, 0,
			 -1);
		break;
	default:
		send_raw(w, IPC_TAKEN, &(struct ipc_taken){take_number(input, 64)}, NULL, 0, -1);
	}
}

/* The other end reads what it was sent. */
static void read_bare(struct world *w)
{
	static uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t)];
	size_t n_fds = 0;
	int fd = -1;

	while (fdpass_recv(w->bare, packet, sizeof(packet), &fd, 1, &n_fds) > 0) {
		if (packet[0] == IPC_HANDLE)
			w->out_number = packet[1];
		if (n_fds > 0)
			close(fd);
	}
}

/* --- what is done here ----------------------------------------------------------------------- */

static void send_here(struct world *w, struct input *input)
{
	static const char bytes[200000];
	struct mail_handle handle = {.keep_open = take_byte(input) % 4 == 0};
	uint8_t which = take_byte(input);
	size_t size = take_byte(input) * (size_t)take_byte(input) * 3;

	if (which % 3 == 1 && w->socket_count > 0)
		handle.socket = w->sockets[which % w->socket_count];
	else if (which % 3 == 2)
		handle.server = w->server;
	w->owed++;
	if (mail_send(w->mail, bytes, size, &handle, on_done, w) < 0)
		w->owed--;
}

static void act_here(struct world *w, struct input *input)
{
	uint8_t which = take_byte(input);

	switch (which % 8) {
	case 0:
		mail_receive(w->mail, which % 16 == 0);
		break;
	case 1:
		w->counts++;
		if (net_server_get_connections(w->server, on_counted, w) < 0)
			w->counts--;
		break;
	case 2:
		net_server_close(w->server, NULL, NULL);
		break;
	case 3:
		if (w->socket_count > 0)
			net_socket_destroy(w->sockets[which % w->socket_count], 0);
		break;
	case 4:
		if (w->socket_count > 0)
			net_socket_unshift(w->sockets[which % w->socket_count], "again", which % 5);
		break;
	case 5:
		w->owed++;
		if (mail_end(w->mail, on_done, w) < 0)
			w->owed--;
		break;
	default:
		send_here(w, input);
	}
}

/* A connection of our server's. */
static void connect_here(struct world *w)
{
	struct net_address address;
	struct addr addr;
	int fd;

	if (net_server_address(w->server, &address) < 0)
		return;
	if (addr_unix(address.address, &addr) < 0)
		abort();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		abort();
	(void)!connect(fd, &addr.sa, addr.len);
	ev_run(w->loop, EVRUN_NOWAIT);
	close(fd);
}

static void step(struct world *w, struct input *input)
{
	switch (take_byte(input) % 8) {
	case 0:
		send_piece(w, input);
		break;
	case 1:
		send_handle(w, input);
		break;
	case 2:
		send_answer(w, input);
		break;
	case 3:
		send_sockets(w, input);
		break;
	case 4:
		read_bare(w);
		break;
	case 5:
		connect_here(w);
		break;
	case 6:
		w->in_call = true;
		act_here(w, input);
		w->in_call = false;
		break;
	default:
		ev_run(w->loop, EVRUN_NOWAIT);
	}
}

/* --- the world ------------------------------------------------------------------------------- */

static void begin(struct world *w)
{
	const struct net_server_options options = {.pause_on_connect = true};
	int fds[2];

	*w = (struct world){.loop = ev_loop_new(EVFLAG_AUTO), .in_number = 1};
	REQUIRE(w->loop && channel_pair(fds) == 0);
	w->bare = fds[1];
	REQUIRE(channel_open(&w->channel, w->loop, fds[0], IPC_SUPERVISOR, &channel_ops, w) == 0);
	REQUIRE(mail_open(w->loop, &w->channel, &mail_ops, w, &w->mail) == 0);
	mail_receive(w->mail, true);
	REQUIRE(net_create_server(w->loop, &options, &server_ops, w, &w->server) == 0);
	REQUIRE(net_server_listen_path(w->server, "@usher-fuzz-mail", 0, NULL, NULL) == 0);
	ev_run(w->loop, EVRUN_NOWAIT);
}

static void settle(struct world *w)
{
	for (int i = 0; i < 4; i++)
		ev_run(w->loop, EVRUN_NOWAIT);
}

static void end(struct world *w)
{
	/* All is answered once the channel has gone. */
	channel_close(&w->channel);
	mail_close(w->mail);
	settle(w);
	REQUIRE(w->owed == 0 && w->counts == 0);

	w->is_over = true;
	mail_free(w->mail);
	for (size_t i = 0; i < w->socket_count; i++) {
		net_socket_destroy(w->sockets[i], 0);
		net_socket_release(w->sockets[i]);
	}
	net_server_free(w->server);
	settle(w);
	close(w->bare);
	ev_loop_destroy(w->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	size_t before = open_fd_count();
	struct world w;

	begin(&w);
	for (int i = 0; i < STEPS_MAX && input.left > 0; i++)
		step(&w, &input);
	end(&w);
	REQUIRE(open_fd_count() == before);
	return 0;
}
