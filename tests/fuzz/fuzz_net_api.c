/* Fuzzes the net library's interface: each input is a sequence of calls, made from outside and from
 * inside of callbacks, against peers of one process. What must hold is judged in net_judge.c.
 *
 * An input is bytes that are used up one by one: which call, on which object, with what. A loop
 * turn is a call too. When the bytes are used up, everything ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/net_judge.h"
#include "tests/helpers/net_peers.h"

#define INPUT_MAX   512
#define PEERS       4
#define QUESTIONS   4
#define WRITTEN_MAX (4 * 1024 * 1024)
#define WAITS_MAX   3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world {
	struct judge judge;
	struct peer peers[PEERS];
	struct net_lookup *questions[QUESTIONS];
	const uint8_t *input;
	size_t left;
	size_t written; /* in all, to bound the work */
	unsigned waits;
} world;

static unsigned next(void)
{
	if (world.left == 0)
		return 0;
	world.left--;
	return *world.input++;
}

static struct judged_socket *next_socket(void)
{
	return &world.judge.sockets[next() % JUDGE_SOCKETS];
}

static size_t next_size(void)
{
	static const size_t sizes[] = {1, 0, 2, 17, 250, 4096, 65536, 300000};
	size_t size = sizes[next() % ARRAY_LEN(sizes)];

	if (world.written + size > WRITTEN_MAX)
		return 1;
	world.written += size;
	return size;
}

static int next_error(void)
{
	static const int errors[] = {0, -EIO, EPROTO, NET_ERR_SOCKET_CLOSED, INT32_MIN + 1};

	return errors[next() % ARRAY_LEN(errors)];
}

/* --- peers ----------------------------------------------------------------------------------- */

static void take_peer(int fd)
{
	struct peer *peer = &world.peers[next() % PEERS];

	peer_take(peer, fd, next() % 2);
}

static void act_peer(void)
{
	struct peer *peer = &world.peers[next() % PEERS];
	unsigned what = next();

	if (peer->fd < 0)
		return;
	switch (what % 8) {
	case 0:
	case 1:
		peer_send(peer, next_size());
		break;
	case 2:
		peer_end(peer);
		break;
	case 3:
		peer_close(peer);
		break;
	case 4:
		peer_reset(peer);
		break;
	default:
		peer_receive(peer, !world.judge.contents_mixed);
		break;
	}
}

/* --- sockets: how they begin ----------------------------------------------------------------- */

static int next_port(void)
{
	const struct judged_server *of = &world.judge.servers[next() % JUDGE_SERVERS];
	struct net_address address;

	if (of->server && net_server_address(of->server, &address) == 0 && address.port != 0)
		return address.port;
	return next() % 2; /* nobody listens there */
}

static void act_peer_connects(void)
{
	int fd = peer_connect(next_port());

	if (fd >= 0)
		take_peer(fd);
}

static void next_options(struct net_socket_options *options)
{
	static const uint32_t marks[] = {0, NET_HIGH_WATER_MARK_ZERO, 1, 5000};
	unsigned bits = next();

	options->allow_half_open = bits & 1;
	options->readable = bits & 2;
	options->writable = bits & 4;
	options->write_limit = bits & 8 ? 200000 : 0;
	options->high_water_mark = marks[bits >> 4 & 3];
}

static enum judge_ops next_ops(void)
{
	return next() % JUDGE_OPS_END;
}

static void create(const struct net_socket_options *options)
{
	struct judged_socket *place = judge_free_place(&world.judge);
	struct net_socket *socket;
	int r;

	CALL(&world.judge, r = net_socket_new(world.judge.loop, options,
					      judge_socket_ops(JUDGE_ALL), place, &socket));
	REQUIRE(r == 0);
	judge_enter(place, socket);
}

static void act_create(void)
{
	struct net_socket_options options = {0};

	next_options(&options);
	if (judge_free_place(&world.judge))
		create(&options);
}

static void act_pair(void)
{
	struct net_socket_options options = {.has_fd = true};
	int fds[2];

	if (!judge_free_place(&world.judge))
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		return;
	options.fd = fds[0];
	next_options(&options);
	create(&options);
	take_peer(fds[1]);
}

/* Answers a question of an earlier connect, whose socket may be gone. */
static void answer(struct net_lookup **question)
{
	struct net_address addresses[3] = {{.address = "127.0.0.1", .family = 4},
					   {.address = "::1", .family = 6},
					   {.address = "127.0.0.2", .family = 4}};
	unsigned how = next();
	struct net_lookup *asked = *question;

	*question = NULL;
	if (how % 16 == 1)
		addresses[0].family = 6; /* which it is not */
	if (how % 16 == 2)
		memset(addresses[1].address, '1', sizeof(addresses[1].address));
	CALL(&world.judge, net_lookup_reply(asked, how % 8 == 3 ? -EIO : 0, addresses, how % 4));
}

static void act_answer(void)
{
	struct net_lookup **question = &world.questions[next() % QUESTIONS];

	if (*question)
		answer(question);
}

static int look_up(struct net_lookup *lookup, const char *host, int family, int hints, void *ctx)
{
	struct net_lookup **question = &world.questions[next() % QUESTIONS];

	REQUIRE(world.judge.calls_running == 0);
	if (world.judge.is_ending || *question)
		return NET_ERR_EAI_AGAIN;
	*question = lookup;
	if (next() % 4 == 0)
		answer(question);
	return 0;
}

/* An abstract name of this process, or none that can be. */
static const char *next_path(unsigned bits)
{
	static char path[32];

	if (path[0] == '\0')
		snprintf(path, sizeof(path), "@usher-fuzz-%d", getpid());
	return bits & 64 ? path : bits & 16 ? "@" : "/nowhere/at/all";
}

/* The bits choose a target and options that may be refused. */
static void next_target(struct net_connect_options *options)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "name.test", "name.test"};
	unsigned bits = next();

	options->has_port = bits % 32 != 31;
	options->port = next_port();
	options->host = hosts[bits & 3];
	options->lookup = look_up;
	options->family = bits & 64 ? 4 : 0;
	options->attempt_delay_ms = bits & 128 ? 10 : 0;
	options->timeout_ms = bits & 16 ? 1 : 0;
	if (bits % 16 == 8)
		options->path = next_path(bits);
	if (bits % 16 == 9)
		options->local_address = "127.0.0.1";
}

static void act_connect(struct judged_socket *socket)
{
	struct token *token = judge_token(TOKEN_CONNECT, socket);
	struct net_connect_options options = {0};
	bool was_open = socket->is_open;
	int r;

	next_target(&options);
	CALL(&world.judge,
	     r = net_socket_connect(socket->socket, &options, token ? judge_answer : NULL, token));
	if (r == 0 && !was_open)
		judge_reopened(socket);
	judge_returned(token, r);
}

/* --- sockets: bytes -------------------------------------------------------------------------- */

static void act_write(struct judged_socket *socket)
{
	struct token *token = judge_token(TOKEN_WRITE, socket);
	size_t size = next_size();
	int r;

	CALL(&world.judge, r = net_socket_write(socket->socket, judge_pattern(socket->written),
						size, token ? judge_answer : NULL, token));
	judge_returned(token, r);
	if (r >= 0)
		socket->written += size;
	REQUIRE(r <= 1);
}

static void act_writev(struct judged_socket *socket)
{
	struct token *token = judge_token(TOKEN_WRITE, socket);
	struct iovec parts[40];
	int count = (int)(next() % ARRAY_LEN(parts));
	size_t each = next() % 2 ? 1 : 900, total = 0;
	int r;

	for (int i = 0; i < count; i++) {
		parts[i].iov_base = (char *)judge_pattern(socket->written + total);
		parts[i].iov_len = i % 7 == 3 ? 0 : each;
		total += parts[i].iov_len;
	}
	CALL(&world.judge, r = net_socket_writev(socket->socket, parts, count,
						 token ? judge_answer : NULL, token));
	judge_returned(token, r);
	if (r >= 0)
		socket->written += total;
}

static void act_end(struct judged_socket *socket)
{
	struct token *token = judge_token(TOKEN_END, socket);
	size_t size = next() % 2 ? next_size() : 0;
	int r;

	CALL(&world.judge, r = net_socket_end(socket->socket, judge_pattern(socket->written), size,
					      token ? judge_answer : NULL, token));
	judge_returned(token, r);
	if (r == 0)
		socket->written += size;
}

static void act_cork(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_cork(socket->socket));
}

static void act_uncork(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_uncork(socket->socket));
}

static void act_pause(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_pause(socket->socket));
	REQUIRE(net_socket_is_paused(socket->socket));
}

static void act_resume(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_resume(socket->socket));
	REQUIRE(!net_socket_is_paused(socket->socket));
}

static void act_set_ops(struct judged_socket *socket)
{
	enum judge_ops which = next_ops();

	/* Who has resumed it without wanting data loses that. */
	socket->is_deaf = which == JUDGE_DEAF;
	if (socket->is_deaf)
		socket->reads_count = false;
	CALL(&world.judge, net_socket_set_ops(socket->socket, judge_socket_ops(which), socket));
}

static void act_set_encoding(struct judged_socket *socket)
{
	socket->is_decoded = true;
	socket->reads_count = false;
	CALL(&world.judge,
	     (void)net_socket_set_encoding(socket->socket, next() % (NET_ENCODING_HEX + 2)));
}

static void act_pipe(struct judged_socket *socket)
{
	struct judged_socket *to = next_socket();

	if (!to->socket)
		return;
	world.judge.contents_mixed = true;
	socket->reads_count = to->writes_count = false;
	CALL(&world.judge, (void)net_socket_pipe(socket->socket, to->socket));
}

static void act_unpipe(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_unpipe(socket->socket));
}

/* --- sockets: the rest of their lives -------------------------------------------------------- */

static void act_destroy(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_destroy(socket->socket, next_error()));
	REQUIRE(net_socket_destroyed(socket->socket));
	REQUIRE(net_socket_buffer_size(socket->socket) == 0);
}

static void act_destroy_soon(struct judged_socket *socket)
{
	CALL(&world.judge, (void)net_socket_destroy_soon(socket->socket));
}

static void act_reset(struct judged_socket *socket)
{
	CALL(&world.judge, (void)net_socket_reset_and_destroy(socket->socket));
}

static void act_set_timeout(struct judged_socket *socket)
{
	struct token *token = judge_token(TOKEN_TIMEOUT, socket);
	int r;

	CALL(&world.judge, r = net_socket_set_timeout(socket->socket, (long long)(next() % 3) - 1,
						      token ? judge_answer : NULL, token));
	judge_returned(token, r);
}

static void act_ref(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_ref(socket->socket));
}

static void act_unref(struct judged_socket *socket)
{
	CALL(&world.judge, net_socket_unref(socket->socket));
}

static void act_set_options(struct judged_socket *socket)
{
	unsigned bits = next();

	CALL(&world.judge, (void)net_socket_set_no_delay(socket->socket, bits & 1));
	CALL(&world.judge, (void)net_socket_set_type_of_service(socket->socket, bits - 1));
	CALL(&world.judge,
	     (void)net_socket_set_keep_alive(socket->socket, bits & 2, bits & 4 ? 2000 : -1));
}

static void act_ask(struct judged_socket *socket)
{
	const struct net_socket *s = socket->socket;
	struct net_address address;

	if (net_socket_local_address(s, &address) == 0)
		REQUIRE(memchr(address.address, '\0', sizeof(address.address)));
	if (net_socket_remote_address(s, &address) == 0)
		REQUIRE(memchr(address.address, '\0', sizeof(address.address)));
	REQUIRE(net_socket_ctx(s) == socket);
	REQUIRE(!net_socket_destroyed(s) || net_socket_ready_state(s) == NET_CLOSED);
	REQUIRE(!net_socket_connecting(s) || net_socket_ready_state(s) == NET_OPENING);
}

/* --- servers --------------------------------------------------------------------------------- */

static void server_listen(struct judged_server *judged)
{
	static const char *const hosts[] = {NULL, "127.0.0.1", "::1", NULL};
	struct token *token = judge_server_token(judged);
	const struct net_server *other = world.judge.servers[next() % JUDGE_SERVERS].server;
	unsigned bits = next();
	struct net_listen_options options = {
		.has_port = bits % 8 != 7,
		.port = bits % 32 == 5 ? 65536 : 0,
		.host = hosts[bits >> 3 & 3],
		.server = bits % 16 == 6 ? other : NULL,
		.socket = bits % 16 == 4 ? next_socket()->socket : NULL,
		.has_fd = bits % 16 == 3,
		.path = next_path(bits),
		.backlog = bits & 128 ? 1 : 0,
		.ipv6_only = bits % 16 == 2,
		.reuse_port = bits % 16 == 1,
	};
	int r;

	if (options.has_fd)
		options.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CALL(&world.judge, r = net_server_listen(judged->server, &options,
						 token ? judge_server_answer : NULL, token));
	if (r < 0 && options.has_fd)
		close_fd(options.fd);
	judged->listens += r == 0;
}

static void server_close(struct judged_server *judged)
{
	struct token *token = judge_server_token(judged);

	CALL(&world.judge,
	     (void)net_server_close(judged->server, token ? judge_server_answer : NULL, token));
	REQUIRE(!net_server_listening(judged->server));
}

static void server_count(struct judged_server *judged)
{
	struct token *token = judge_server_token(judged);

	if (token)
		CALL(&world.judge,
		     (void)net_server_get_connections(judged->server, judge_count_answer, token));
}

static void server_close_all(struct judged_server *judged)
{
	CALL(&world.judge, net_server_close_all_connections(judged->server));
	REQUIRE(net_server_connections(judged->server) == 0);
}

static void server_limit(struct judged_server *judged)
{
	CALL(&world.judge, net_server_set_max_connections(judged->server, (long)(next() % 4) - 1));
}

static void server_refs(struct judged_server *judged)
{
	if (next() % 2)
		CALL(&world.judge, net_server_ref(judged->server));
	else
		CALL(&world.judge, net_server_unref(judged->server));
}

static void server_free(struct judged_server *judged)
{
	CALL(&world.judge, net_server_free(judged->server));
	judged->server = NULL;
}

static void server_create(struct judged_server *judged)
{
	unsigned bits = next();
	const struct net_server_options options = {
		.allow_half_open = bits & 1,
		.pause_on_connect = bits & 2,
		.no_delay = bits & 4,
		.keep_alive = bits & 8,
		.high_water_mark = bits & 16 ? 1000 : 0,
		.write_limit = bits & 32 ? 100000 : 0,
	};
	int r;

	CALL(&world.judge, r = net_create_server(world.judge.loop, &options, &judge_server_ops,
						 judged, &judged->server));
	REQUIRE(r == 0);
	judged->listens = judged->closes = 0;
}

static void act_server(void)
{
	static void (*const acts[])(struct judged_server *) = {
		server_listen, server_close, server_count,  server_close_all,
		server_limit,  server_refs,  server_listen, server_free};
	struct judged_server *judged = &world.judge.servers[next() % JUDGE_SERVERS];

	if (judged->server) {
		acts[next() % ARRAY_LEN(acts)](judged);
		return;
	}
	server_create(judged);
	server_listen(judged);
}

/* --- inputs ---------------------------------------------------------------------------------- */

static void act_on(unsigned which, struct judged_socket *socket)
{
	static void (*const acts[])(struct judged_socket *) = {
		act_write,   act_end,          act_pause,        act_resume,  act_connect,
		act_pipe,    act_destroy,      act_writev,       act_cork,    act_uncork,
		act_set_ops, act_set_encoding, act_unpipe,       act_reset,   act_set_timeout,
		act_ref,     act_unref,        act_destroy_soon, judge_hold,  judge_release,
		act_ask,     act_set_options,  act_write,        act_connect, act_uncork,
	};

	if (socket->socket)
		acts[which % ARRAY_LEN(acts)](socket);
}

static void act_elsewhere(unsigned which)
{
	static void (*const acts[])(void) = {
		act_pair, act_peer,          act_server, act_create,
		act_peer, act_peer_connects, act_server, act_answer,
	};

	acts[which % ARRAY_LEN(acts)]();
}

/* Inside a callback half of the bytes mean to do nothing, and most of the rest to do something to
 * the object at hand. */
static void act_inside(struct judge *judge, struct judged_socket *at_hand)
{
	unsigned byte = next();

	if (byte < 128)
		return;
	if (byte >= 240)
		act_elsewhere(byte);
	else
		act_on(byte, next() % 4 ? at_hand : next_socket());
}

static void stop_waiting(struct ev_loop *loop, ev_timer *timer, int events)
{
}

/* Lets a timeout of the input run out. */
static void turn_in_time(void)
{
	ev_timer timer;

	ev_timer_init(&timer, stop_waiting, 0.002, 0.);
	ev_now_update(world.judge.loop);
	ev_timer_start(world.judge.loop, &timer);
	ev_run(world.judge.loop, EVRUN_ONCE);
	ev_timer_stop(world.judge.loop, &timer);
}

/* No call can open another one. */
static void turn_without_descriptors(void)
{
	int next_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	struct rlimit before, now;

	REQUIRE(next_fd >= 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
	close(next_fd);
	now = before;
	now.rlim_cur = (rlim_t)next_fd;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &now) == 0);
	ev_run(world.judge.loop, EVRUN_NOWAIT);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

static void step(void)
{
	unsigned byte = next();

	if (byte == 255 && world.waits++ < WAITS_MAX)
		turn_in_time();
	else if (byte == 251)
		turn_without_descriptors();
	else if (byte % 4 == 3)
		ev_run(world.judge.loop, EVRUN_NOWAIT);
	else if (byte % 4 == 2)
		act_elsewhere(byte / 4);
	else
		act_on(byte / 4 + byte % 4 * 64, next_socket());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return -1;

	memset(&world, 0, sizeof(world));
	world.input = data;
	world.left = size;
	for (size_t i = 0; i < PEERS; i++)
		world.peers[i].fd = -1;
	judge_begin(&world.judge);
	world.judge.act = act_inside;
	while (world.left > 0)
		step();

	for (size_t i = 0; i < PEERS; i++)
		peer_close(&world.peers[i]);
	for (size_t i = 0; i < QUESTIONS; i++)
		if (world.questions[i])
			answer(&world.questions[i]);
	judge_end(&world.judge);
	return 0;
}
