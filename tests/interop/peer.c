/* The library's side of the conversations with Node.js and nc: a server of one connection or more,
 * or a client, which does one thing and writes what happens to it, a word a line.
 *
 *   peer server|client WHERE ACTION [ARGUMENT]
 *
 * WHERE is a TCP port on 127.0.0.1 (0: any) or a path. A server tells "listening PORT"; one that
 * echoes goes on until its standard input ends, all others end with their first connection.
 * Actions are the table below. Lines on standard input: "resume", "report",
 * "answer". */
#include <ev.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/net.h"

/* Nothing here takes that long. */
#define DEADLINE_SECONDS 120

struct action {
	const char *name;
	void (*start)(struct net_socket *socket);
	void (*on_data)(struct net_socket *socket, const void *data, size_t size, void *ctx);
	void (*on_end)(struct net_socket *socket, void *ctx);
	bool allow_half_open;
	bool starts_paused;
	bool serves_many;
};

static struct {
	struct ev_loop *loop;
	const struct action *action;
	const char *argument;
	struct net_server *server;
	struct net_socket *socket; /* the latest one */
	struct net_socket_ops ops;
	ev_io input;
	ev_prepare turn;
	FILE *file;
	uint64_t received;
	uint64_t told;
} peer;

static _Noreturn void die(const char *what, int error)
{
	fprintf(stderr, "peer: %s: %s\n", what, net_error_name(error));
	exit(1);
}

static void check(const char *what, int r)
{
	if (r < 0)
		die(what, r);
}

/* --- what happens ---------------------------------------------------------------------------- */

static void on_connect(struct net_socket *socket, void *ctx)
{
	puts("connect");
	peer.action->start(socket);
}

static void on_drain(struct net_socket *socket, void *ctx)
{
	puts("drain");
}

static void on_finish(struct net_socket *socket, void *ctx)
{
	puts("finish");
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	printf("error %s\n", error->text);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	printf("close %d\n", had_error);
	peer.socket = NULL;
	if (peer.action->serves_many)
		return;
	ev_io_stop(peer.loop, &peer.input);
	if (peer.server)
		net_server_close(peer.server, NULL, NULL);
}

static void on_end(struct net_socket *socket, void *ctx)
{
	puts("end");
	if (peer.file && fflush(peer.file) != 0)
		die("fflush", -errno);
	if (peer.action->on_end)
		peer.action->on_end(socket, ctx);
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	peer.received += size;
	if (peer.action->on_data)
		peer.action->on_data(socket, data, size, ctx);
}

/* --- actions --------------------------------------------------------------------------------- */

static void just_read(struct net_socket *socket)
{
}

static void echo(struct net_socket *socket)
{
	check("pipe", net_socket_pipe(socket, socket));
}

static void end_at_once(struct net_socket *socket)
{
	check("end", net_socket_end(socket, "bye", 3, NULL, NULL));
}

static void tell_received(struct net_socket *socket, void *ctx)
{
	printf("received %llu\n", (unsigned long long)peer.received);
}

static void reset(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	check("reset", net_socket_reset_and_destroy(socket));
}

static void open_file(struct net_socket *socket)
{
	peer.file = fopen(peer.argument, "w");
	if (!peer.file)
		die(peer.argument, -errno);
}

static void save(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	if (fwrite(data, 1, size, peer.file) != size)
		die("fwrite", -errno);
}

static void on_sent(struct net_socket *socket, int status, void *ctx)
{
	printf("written %d\n", status);
	check("end", net_socket_end(socket, NULL, 0, NULL, NULL));
}

/* One write of everything. */
static void send_file(struct net_socket *socket)
{
	AUTO_CLOSE int fd = open(peer.argument, O_RDONLY | O_CLOEXEC);
	struct stat about;
	size_t size;
	void *data;
	int r;

	if (fd == -1 || fstat(fd, &about) == -1)
		die(peer.argument, -errno);
	size = (size_t)about.st_size;
	data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		die("mmap", -errno);

	r = net_socket_write(socket, data, size, on_sent, NULL);
	check("write", r);
	printf("welcome %d queued %zu\n", r, net_socket_buffer_size(socket));
	munmap(data, size);
}

/* Each read is told to the peer by one byte, so that it can see to it that its next bytes come in
 * a packet of their own. A text held back is no event, hence the look before each poll. */
static void on_turn(struct ev_loop *loop, ev_prepare *turn, int events)
{
	uint64_t read = peer.socket ? net_socket_bytes_read(peer.socket) : peer.told;

	if (read == peer.told)
		return;
	peer.told = read;
	check("write", net_socket_write(peer.socket, ".", 1, NULL, NULL));
}

static void decode(struct net_socket *socket)
{
	int encoding = net_encoding_by_name(peer.argument);

	check("encoding", encoding);
	check("set_encoding", net_socket_set_encoding(socket, (enum net_encoding)encoding));
	ev_prepare_init(&peer.turn, on_turn);
	ev_prepare_start(peer.loop, &peer.turn);
	ev_unref(peer.loop);
}

static void tell_text(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	const unsigned char *bytes = data;

	fputs("text ", stdout);
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static const struct action actions[] = {
	{.name = "read", .start = just_read, .on_end = tell_received},
	{.name = "echo", .start = echo, .allow_half_open = true, .serves_many = true},
	{.name = "end", .start = end_at_once, .on_end = tell_received},
	{.name = "answer", .start = just_read, .allow_half_open = true},
	{.name = "reset", .start = just_read, .on_data = reset},
	{.name = "save", .start = open_file, .on_data = save, .on_end = tell_received},
	{.name = "save-paused",
	 .start = open_file,
	 .on_data = save,
	 .on_end = tell_received,
	 .starts_paused = true},
	{.name = "send", .start = send_file},
	{.name = "decode", .start = decode, .on_data = tell_text},
};

/* --- standard input -------------------------------------------------------------------------- */

/* Half-open: long after its end the peer still gets an answer. */
static void answer(struct net_socket *socket)
{
	char text[64];
	int size = snprintf(text, sizeof(text), "got %llu after your end",
			    (unsigned long long)peer.received);

	check("end", net_socket_end(socket, text, (size_t)size, NULL, NULL));
}

static void report(const struct net_socket *socket)
{
	printf("read %llu paused %d\n", (unsigned long long)net_socket_bytes_read(socket),
	       net_socket_is_paused(socket));
}

static void obey(const char *line)
{
	if (!peer.socket)
		return;
	if (strcmp(line, "resume\n") == 0)
		net_socket_resume(peer.socket);
	else if (strcmp(line, "report\n") == 0)
		report(peer.socket);
	else if (strcmp(line, "answer\n") == 0)
		answer(peer.socket);
}

static void on_input(struct ev_loop *loop, ev_io *io, int events)
{
	char line[64];
	ssize_t n = read(io->fd, line, sizeof(line) - 1);

	if (n > 0) {
		line[n] = '\0';
		obey(line);
		return;
	}

	ev_io_stop(loop, io);
	if (peer.server && peer.action->serves_many) {
		net_server_close(peer.server, NULL, NULL);
		net_server_close_all_connections(peer.server);
	}
}

/* --- the two roles --------------------------------------------------------------------------- */

static void take(struct net_socket *socket)
{
	peer.socket = socket;
	net_socket_set_ops(socket, &peer.ops, NULL);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	take(socket);
	on_connect(socket, NULL);
}

static void on_listening(struct net_server *server, void *ctx)
{
	struct net_address address;

	check("address", net_server_address(server, &address));
	printf("listening %d\n", address.port);
}

static void on_server_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "peer: %s\n", error->text);
	exit(1);
}

static bool is_port(const char *where)
{
	return where[strspn(where, "0123456789")] == '\0';
}

static void serve(const char *where)
{
	static const struct net_server_ops ops = {.on_listening = on_listening,
						  .on_connection = on_connection,
						  .on_error = on_server_error};
	const struct net_server_options options = {
		.allow_half_open = peer.action->allow_half_open,
		.pause_on_connect = peer.action->starts_paused,
	};

	check("server", net_create_server(peer.loop, &options, &ops, NULL, &peer.server));
	if (is_port(where))
		check("listen",
		      net_server_listen_port(peer.server, atoi(where), "127.0.0.1", 0, NULL, NULL));
	else
		check("listen", net_server_listen_path(peer.server, where, 0, NULL, NULL));
}

static void call(const char *where)
{
	const struct net_socket_options socket = {.allow_half_open = peer.action->allow_half_open};
	struct net_connect_options options = {.host = "127.0.0.1"};

	options.has_port = is_port(where);
	options.port = atoi(where);
	options.path = options.has_port ? NULL : where;
	check("connect",
	      net_create_connection(peer.loop, &options, &socket, &peer.ops, NULL, &peer.socket));
	if (peer.action->starts_paused)
		net_socket_pause(peer.socket);
}

static const struct action *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	fprintf(stderr, "peer: no such action: %s\n", name);
	exit(64);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: peer server|client PORT|PATH ACTION [ARGUMENT]\n");
		return 64;
	}

	alarm(DEADLINE_SECONDS);
	setvbuf(stdout, NULL, _IOLBF, 0);
	peer.loop = ev_default_loop(EVFLAG_AUTO);
	peer.action = find(argv[3]);
	peer.argument = argv[4];
	peer.ops = (struct net_socket_ops){.on_connect = on_connect,
					   .on_data = on_data,
					   .on_drain = on_drain,
					   .on_end = on_end,
					   .on_finish = on_finish,
					   .on_error = on_error,
					   .on_close = on_close};
	if (strcmp(argv[1], "server") == 0)
		serve(argv[2]);
	else
		call(argv[2]);

	ev_io_init(&peer.input, on_input, STDIN_FILENO, EV_READ);
	ev_io_start(peer.loop, &peer.input);
	ev_run(peer.loop, 0);
	net_server_free(peer.server);
	if (peer.file && fclose(peer.file) != 0)
		die("fclose", -errno);
	return 0;
}
