/* Workers are killed one after the other under short connections, in every way to distribute: who
 * fails was held by a worker that was killed, nobody hangs, nothing is left behind.
 *
 * Every second victim is stopped for a while before it is killed: the kernel then says which
 * connections it has, and more are handed to it that it will never take. The others die in the
 * midst of their work; who fails then was at least connected before.
 *
 * USHER_KILLS is the number of kills in each way, 10 if not given. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define KILLS_DEFAULT 10
#define KILL_EVERY_MS 200
#define SECONDS_EACH  100

/* Between two kills, on a machine that is too busy for more. */
#define SERVED_EACH 50

/* From the stop of a worker, when it takes no more, to its kill. */
#define STOPPED_MS 60

/* At a time, and new ones in a millisecond. */
#define CLIENTS 128
#define PACE    4

/* Between the two things that a client says, at most. */
#define THINKS_MS 60

/* Enough that none has lived shortly when its turn comes: its slot would back off. */
#define WORKERS 60

static const char *const modes[] = {"shared", "round-robin", "least-connections", "source-hash",
				    "reuse-port"};
static const char *mode;

struct client {
	int fd; /* -1: none */
	struct sockaddr_in own;
	int64_t since;
	int64_t thinks_until; /* 0: it does not */
	int echoes;           /* that have come */
	bool held;            /* by a worker when that was killed */
};

struct storm {
	struct usher *usher;
	int port;
	struct client clients[CLIENTS];
	struct pollfd entries[CLIENTS];
	uint32_t last_address;
	size_t served;
	size_t failed;
	pid_t victim; /* stopped; 0: none */
	int64_t next; /* stop or kill */
	long kills;
	size_t enough;   /* so many must be served before the next kill */
	int64_t allowed; /* how many connections may have been made by now */
	int64_t began;
};

/* --- clients --------------------------------------------------------------------------------- */

/* Each comes from an address of its own, so that no port is too soon used again. */
static void open_client(struct storm *s, size_t index)
{
	struct client *c = &s->clients[index];
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr = {htonl(INADDR_LOOPBACK)},
		.sin_port = htons((uint16_t)s->port),
	};
	socklen_t size = sizeof(c->own);

	*c = (struct client){
		.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
		.own = {.sin_family = AF_INET,
			.sin_addr = {htonl(0x7f000002 + s->last_address++ % 60000)}},
		.since = now_ms(),
	};
	assert_true(c->fd >= 0);
	assert_int_equal(bind(c->fd, (struct sockaddr *)&c->own, sizeof(c->own)), 0);
	if (connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) == -1)
		assert_int_equal(errno, EINPROGRESS);
	assert_int_equal(getsockname(c->fd, (struct sockaddr *)&c->own, &size), 0);
	s->entries[index] = (struct pollfd){.fd = c->fd, .events = POLLOUT};
}

static void close_client(struct storm *s, size_t index)
{
	close_fd(take_fd(&s->clients[index].fd));
	s->entries[index].fd = -1;
}

static void end_client(struct storm *s, size_t index, bool well)
{
	const struct client *c = &s->clients[index];

	if (!well && !c->held)
		fail_msg("%s: the connection of port %d failed after %d echoes, %s (%d), and no "
			 "killed worker had it",
			 mode, ntohs(c->own.sin_port), c->echoes, strerror(errno), errno);
	s->served += well;
	s->failed += !well;
	close_client(s, index);
}

/* Says something twice, so that some are in the midst of it at every kill. */
static void on_client(struct storm *s, size_t index)
{
	struct client *c = &s->clients[index];
	struct pollfd *entry = &s->entries[index];
	char byte;

	errno = 0;
	if (entry->events == POLLOUT) {
		entry->events = POLLIN;
		if (send(c->fd, "x", 1, MSG_NOSIGNAL) != 1)
			end_client(s, index, false);
		return;
	}
	ssize_t n = recv(c->fd, &byte, 1, 0);
	if (n == -1 && errno == EAGAIN)
		return;
	if (n != 1 || byte != 'x') {
		end_client(s, index, false);
		return;
	}
	c->echoes++;
	if (c->echoes == 2)
		end_client(s, index, true);
	else
		c->thinks_until = now_ms() + rand() % THINKS_MS;
}

static void go_on(struct storm *s, size_t index)
{
	struct client *c = &s->clients[index];

	if (c->thinks_until == 0 || now_ms() < c->thinks_until)
		return;
	c->thinks_until = 0;
	s->entries[index].events = POLLOUT;
}

/* --- kills ----------------------------------------------------------------------------------- */

/* The inodes of the sockets that a process has, in a text "ino:1 ino:2 ". */
static char *sockets_of(pid_t pid)
{
	char path[64], link[64], *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (int fd = 0; fd < 1000; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		ssize_t n = readlink(path, link, sizeof(link) - 1);
		unsigned long inode;

		link[n > 0 ? n : 0] = '\0';
		if (sscanf(link, "socket:[%lu]", &inode) == 1)
			fprintf(out, "ino:%lu ", inode);
	}
	fclose(out);
	return text;
}

static void mark_held(struct storm *s, const char *peer)
{
	char own[INET_ADDRSTRLEN + 8], address[INET_ADDRSTRLEN];

	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *c = &s->clients[i];

		if (c->fd == -1)
			continue;
		inet_ntop(AF_INET, &c->own.sin_addr, address, sizeof(address));
		snprintf(own, sizeof(own), "%s:%d", address, ntohs(c->own.sin_port));
		if (strcmp(own, peer) == 0)
			s->clients[i].held = true;
	}
}

/* Marks the clients whose connections a stopped process has among its descriptors: those that are
 * still on their way to it are not. */
static void mark_clients_of(struct storm *s, pid_t pid)
{
	char sport[16];
	const char *const argv[] = {"/bin/ss", "-Htne", "state", "established",
				    "sport",   "=",     sport,   NULL};
	AUTO_FREE char *sockets = sockets_of(pid);
	AUTO_FREE char *out = NULL;
	char *rest, *line;

	snprintf(sport, sizeof(sport), ":%d", s->port);
	assert_int_equal(process_run(&(struct process_options){.argv = argv}, &out, NULL), 0);
	for (line = strtok_r(out, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *inode = strstr(line, "ino:");
		char peer[64], word[32];

		if (!inode || sscanf(line, "%*s %*s %*s %63s", peer) != 1)
			continue;
		snprintf(word, sizeof(word), "%.*s ", (int)strcspn(inode, " "), inode);
		if (strstr(sockets, word))
			mark_held(s, peer);
	}
}

static void mark_all(struct storm *s)
{
	for (size_t i = 0; i < CLIENTS; i++)
		s->clients[i].held = true;
}

/* The oldest that lives: the kernel names children in the order of their start, and a dead one for
 * as long as usherd has not looked at it. */
static pid_t choose_victim(const struct storm *s)
{
	pid_t pids[2 * WORKERS];
	size_t n = kernel_children(s->usher->process.pid, pids, ARRAY_LEN(pids));

	for (size_t i = 0; i < n && i < ARRAY_LEN(pids); i++) {
		char state = kernel_process_state(pids[i]);

		if (state && state != 'Z')
			return pids[i];
	}
	return 0;
}

static void kill_victim(struct storm *s)
{
	kernel_kill(s->victim);
	s->victim = 0;
	s->kills++;
	s->enough = s->served + SERVED_EACH;
}

static void stop_or_kill(struct storm *s)
{
	if (now_ms() < s->next || (s->victim == 0 && s->served < s->enough))
		return;
	if (s->victim > 0) {
		mark_clients_of(s, s->victim);
		kill_victim(s);
		s->next = now_ms() + KILL_EVERY_MS - STOPPED_MS;
		return;
	}
	s->victim = choose_victim(s);
	if (s->victim > 0 && s->kills % 2) {
		kernel_stop(s->victim);
		s->next = now_ms() + STOPPED_MS;
	} else if (s->victim > 0) {
		mark_all(s);
		kill_victim(s);
		s->next = now_ms() + KILL_EVERY_MS;
	}
}

/* --- the storm ------------------------------------------------------------------------------- */

static size_t look_at_clients(struct storm *s)
{
	size_t open = 0;

	assert_true(TEMP_FAILURE_RETRY(poll(s->entries, CLIENTS, 1)) >= 0);
	for (size_t i = 0; i < CLIENTS; i++) {
		if (s->clients[i].fd == -1)
			continue;
		go_on(s, i);
		if (s->entries[i].revents)
			on_client(s, i);
		else if (now_ms() - s->clients[i].since > WAIT_MS)
			fail_msg("%s: a connection hangs after %d echoes", mode,
				 s->clients[i].echoes);
		open += s->clients[i].fd != -1;
	}
	return open;
}

static void open_more(struct storm *s)
{
	int64_t now = (now_ms() - s->began) * PACE;

	for (size_t i = 0; i < CLIENTS && s->allowed < now; i++) {
		if (s->clients[i].fd != -1)
			continue;
		open_client(s, i);
		s->allowed++;
	}
	s->allowed = now;
}

static long kills_wanted(void)
{
	const char *text = getenv("USHER_KILLS");

	return text ? strtol(text, NULL, 10) : KILLS_DEFAULT;
}

static void rage(struct storm *s)
{
	long wanted = kills_wanted();

	for (size_t i = 0; i < CLIENTS; i++)
		s->clients[i].fd = s->entries[i].fd = -1;
	s->began = now_ms();
	s->enough = SERVED_EACH;
	s->next = s->began + KILL_EVERY_MS;
	while (s->kills < wanted) {
		stop_or_kill(s);
		open_more(s);
		look_at_clients(s);
	}
	while (look_at_clients(s) > 0)
		;
}

static void who_fails_was_held_by_a_killed_worker(void **state)
{
	struct usher *u = *state;
	struct storm *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	usher_configure(u,
			"workers: %d\n"
			"listeners:\n"
			"  - {name: it, host: 127.0.0.1, port: 0, distribute: %s, handler: echo}\n",
			WORKERS, mode);
	usher_start(u);
	s->usher = u;
	s->port = ask_port(u, "it");
	rage(s);
	print_message("%s: %ld kills, %zu served, %zu failed\n", mode, s->kills, s->served,
		      s->failed);

	ask_expect_connections(u, s->port, 0);
	assert_true(ask_until_workers(u, "ready", WORKERS));
	clients_connect(&u->clients, s->port, 50);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, s->port, 50);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(who_fails_was_held_by_a_killed_worker),
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		mode = modes[i];
		watchdog(SECONDS_EACH + (unsigned int)kills_wanted());
		failed += cmocka_run_group_tests_name(mode, tests, NULL, NULL);
	}
	return failed;
}
