/* A worker whose servers a test commands: what a user's program in a worker may do, one line each.
 *
 * CREW in the environment is the path of the test's socket. The worker connects to it and says
 * "hello PID". The test says:
 *
 *     listen NAME port HOST PORT [OPTION...]    HOST "-": any
 *     listen NAME path PATH [OPTION...]         options: exclusive ipv6_only readable_all
 *     listen NAME fd NUMBER [OPTION...]                  writable_all backlog=N again
 *     listen_now NAME ...                       the same, and whether the server listens at once
 *     close NAME                                answered by "NAME closed" when all have ended
 *     where NAME                                "NAME at ADDRESS" or "NAME nowhere"
 *     count NAME                                "NAME has N"
 *     limit NAME N                              max_connections
 *     folder PATH                               chdir
 *     drain                                     as a worker that leaves by itself
 *     raw WORDS...                              sends a packet of these 32-bit words, in hex
 *
 * and hears "NAME listening ADDRESS", "NAME error CODE TEXT" or "NAME refused CODE". "again" makes
 * the error's own callback listen once more. A client is greeted with the worker's pid. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <ev.h>

#include "common/log.h"
#include "common/macros.h"
#include "common/net/net.h"
#include "worker/worker.h"

#define DRAIN_MS             60000
#define SERVERS_MAX          320
#define LINE_SIZE            8192
#define WORDS_MAX            32
#define EXIT_FAILURE_OF_OURS 70

struct stage {
	char name[32];
	struct net_server *server;
	bool again;
	char line[LINE_SIZE]; /* the last listen */
};

static struct ev_loop *loop;
static struct worker worker;
static struct stage stages[SERVERS_MAX];
static int crew = -1;
static ev_io commands;

/* --- talking to the test --------------------------------------------------------------------- */

static void say(const char *format, ...) PRINTF_LIKE(1, 2);

static void say(const char *format, ...)
{
	char line[LINE_SIZE];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	line[size++] = '\n';
	if (send(crew, line, (size_t)size, MSG_NOSIGNAL) != size)
		exit(EXIT_FAILURE_OF_OURS);
}

static const char *where(const struct net_server *server, char text[256])
{
	struct net_address address;

	if (net_server_address(server, &address) < 0)
		snprintf(text, 256, "nowhere");
	else if (address.family == 6)
		snprintf(text, 256, "[%s]:%d", address.address, address.port);
	else if (address.family == 4)
		snprintf(text, 256, "%s:%d", address.address, address.port);
	else
		snprintf(text, 256, "%s", address.address);
	return text;
}

/* --- servers --------------------------------------------------------------------------------- */

static void on_client_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
}

static const struct net_socket_ops client_ops = {.on_error = on_client_error};

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	char text[32];
	int size = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	net_socket_set_ops(socket, &client_ops, NULL);
	net_socket_write(socket, text, (size_t)size, NULL, NULL);
	net_socket_resume(socket);
}

static void on_listening(struct net_server *server, void *ctx)
{
	const struct stage *stage = ctx;
	char text[256];

	say("%s listening %s", stage->name, where(server, text));
}

static void listen_as_told(struct stage *stage, const char *line, bool tell);

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	struct stage *stage = ctx;
	char line[LINE_SIZE];

	say("%s error %s %s", stage->name, net_error_name(error->code), error->text);
	if (!stage->again)
		return;
	stage->again = false;
	memcpy(line, stage->line, sizeof(line));
	listen_as_told(stage, line, false);
}

static void on_close(struct net_server *server, void *ctx)
{
	const struct stage *stage = ctx;

	say("%s closed", stage->name);
}

static const struct net_server_ops server_ops = {
	.on_connection = on_connection,
	.on_listening = on_listening,
	.on_error = on_error,
	.on_close = on_close,
};

static struct stage *stage_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		struct stage *stage = &stages[i];

		if (stage->server && strcmp(stage->name, name) == 0)
			return stage;
		if (stage->server)
			continue;
		snprintf(stage->name, sizeof(stage->name), "%s", name);
		if (net_create_server(loop, NULL, &server_ops, stage, &stage->server) < 0)
			exit(EXIT_FAILURE_OF_OURS);
		return stage;
	}
	exit(EXIT_FAILURE_OF_OURS);
}

static void read_option(const char *word, struct net_listen_options *options)
{
	options->exclusive |= strcmp(word, "exclusive") == 0;
	options->ipv6_only |= strcmp(word, "ipv6_only") == 0;
	options->readable_all |= strcmp(word, "readable_all") == 0;
	options->writable_all |= strcmp(word, "writable_all") == 0;
	if (strncmp(word, "backlog=", 8) == 0)
		options->backlog = (int)strtol(word + 8, NULL, 10);
}

static void listen_as_told(struct stage *stage, const char *line, bool tell)
{
	struct net_listen_options options = {.has_port = false};
	char copy[LINE_SIZE], *rest, *word;
	char text[256];

	snprintf(copy, sizeof(copy), "%s", line);
	const char *kind = strtok_r(copy, " ", &rest);
	const char *first = strtok_r(NULL, " ", &rest);
	if (!kind || !first)
		exit(EXIT_FAILURE_OF_OURS);

	if (strcmp(kind, "port") == 0) {
		const char *port = strtok_r(NULL, " ", &rest);

		options.host = strcmp(first, "-") == 0 ? NULL : first;
		options.has_port = true;
		options.port = port ? (int)strtol(port, NULL, 10) : 0;
	} else if (strcmp(kind, "path") == 0) {
		options.path = first;
	} else {
		options.has_fd = true;
		options.fd = (int)strtol(first, NULL, 10);
	}
	while ((word = strtok_r(NULL, " ", &rest)))
		read_option(word, &options);

	int error = net_server_listen(stage->server, &options, NULL, NULL);
	if (tell)
		say("%s now %s", stage->name, where(stage->server, text));
	if (error < 0)
		say("%s refused %s", stage->name, net_error_name(error));
}

static void send_raw(char *words)
{
	uint32_t packet[WORDS_MAX];
	size_t n = 0;
	char *rest;

	for (char *word = strtok_r(words, " ", &rest); word && n < WORDS_MAX;
	     word = strtok_r(NULL, " ", &rest))
		packet[n++] = (uint32_t)strtoul(word, NULL, 16);
	if (send(worker.channel.fd, packet, n * sizeof(*packet), MSG_NOSIGNAL) == -1)
		say("raw %s", strerrorname_np(errno));
}

/* --- commands -------------------------------------------------------------------------------- */

static void listen_stage(const char *name, const char *rest, bool tell)
{
	struct stage *stage = stage_of(name);

	stage->again = strstr(rest, " again");
	snprintf(stage->line, sizeof(stage->line), "%s", rest);
	listen_as_told(stage, stage->line, tell);
}

static void handle(char *line)
{
	char *rest = NULL;
	const char *verb = strtok_r(line, " ", &rest);
	char text[256];

	if (!verb)
		return;
	if (strcmp(verb, "drain") == 0) {
		worker_drain(&worker, DRAIN_MS, true);
		return;
	}
	if (strcmp(verb, "raw") == 0) {
		send_raw(rest);
		return;
	}

	const char *name = strtok_r(NULL, " ", &rest);
	if (!name)
		exit(EXIT_FAILURE_OF_OURS);
	if (strcmp(verb, "folder") == 0) {
		if (chdir(name) == -1)
			exit(EXIT_FAILURE_OF_OURS);
	} else if (strcmp(verb, "listen") == 0 || strcmp(verb, "listen_now") == 0) {
		listen_stage(name, rest, verb[6] == '_');
	} else if (strcmp(verb, "close") == 0) {
		net_server_close(stage_of(name)->server, NULL, NULL);
	} else if (strcmp(verb, "where") == 0) {
		say("%s at %s", name, where(stage_of(name)->server, text));
	} else if (strcmp(verb, "count") == 0) {
		say("%s has %zu", name, net_server_connections(stage_of(name)->server));
	} else if (strcmp(verb, "limit") == 0) {
		net_server_set_max_connections(stage_of(name)->server, strtol(rest, NULL, 10));
	} else {
		exit(EXIT_FAILURE_OF_OURS);
	}
}

static void on_commands(struct ev_loop *l, ev_io *watcher, int events)
{
	static char buffer[8 * LINE_SIZE];
	static size_t size;
	ssize_t n = recv(crew, buffer + size, sizeof(buffer) - size, 0);
	char *newline;

	if (n <= 0) {
		ev_io_stop(l, watcher);
		return;
	}
	size += (size_t)n;
	while ((newline = memchr(buffer, '\n', size))) {
		size_t used = (size_t)(newline - buffer) + 1;
		char line[LINE_SIZE];

		*newline = '\0';
		if (used > sizeof(line))
			exit(EXIT_FAILURE_OF_OURS);
		memcpy(line, buffer, used);
		size -= used;
		memmove(buffer, buffer + used, size);
		handle(line);
	}
}

static bool join_crew(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, path);
	crew = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return crew != -1 && connect(crew, (struct sockaddr *)&address, sizeof(address)) == 0;
}

int main(void)
{
	const char *channel = getenv(IPC_CHANNEL_VARIABLE);

	signal(SIGPIPE, SIG_IGN);
	log_init("fake-listener", LOG_LEVEL_INFO);
	if (!channel || !join_crew(getenv("CREW")))
		return 64;
	loop = ev_default_loop(EVFLAG_AUTO);
	say("hello %d", (int)getpid());
	int fd = (int)strtol(channel, NULL, 10);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 || worker_init(&worker, loop, fd) < 0)
		return EXIT_FAILURE_OF_OURS;
	ev_io_init(&commands, on_commands, crew, EV_READ);
	ev_io_start(loop, &commands);
	ev_run(loop, 0);

	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		net_server_free(stages[i].server);
	worker_done(&worker);
	ev_io_stop(loop, &commands);
	close(crew);
	return worker.status;
}
