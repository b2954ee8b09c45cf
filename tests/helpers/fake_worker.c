/* A worker that breaks the rules of the channel, for tests of usherd. FAKE_WORKER in the
 * environment is FOLDER/SHAPE and says how. The first one that is started misbehaves, leaves its
 * pid in FOLDER/SHAPE.pid, and then ignores SIGTERM for ever; all others become usher-worker. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fdpass.h"
#include "common/ipc/claims.h"
#include "common/ipc/messages.h"
#include "common/macros.h"

#define GARBAGE_MESSAGES 1000
#define GARBAGE_SIZE     2000
#define WELCOME_MS       10000

static int channel;
static uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t)];

static void send_bytes(const void *bytes, size_t size)
{
	if (send(channel, bytes, size, MSG_NOSIGNAL) == -1)
		perror("fake worker: send");
}

static size_t encode(enum ipc_type type, const void *body, const void *tail, size_t tail_count)
{
	int size = ipc_encode(type, body, tail, tail_count, packet);

	if (size < 0)
		exit(70);
	return (size_t)size;
}

static void say(enum ipc_type type, const void *body)
{
	send_bytes(packet, encode(type, body, NULL, 0));
}

static void say_hello(uint32_t version)
{
	say(IPC_HELLO, &(struct ipc_hello){.version = version});
}

/* Waits until the supervisor's answer has come, WELCOME as the first message. */
static void await_welcome(void)
{
	struct pollfd entry = {.fd = channel, .events = POLLIN};

	if (poll(&entry, 1, WELCOME_MS) != 1 || recv(channel, packet, sizeof(packet), 0) <= 0)
		exit(70);
}

static uint32_t next_random(void)
{
	static uint32_t seed = 20240607;

	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

/* Messages of random length; every second one begins like a message of the table. */
static void garbage(void)
{
	static uint32_t bytes[GARBAGE_SIZE / sizeof(uint32_t)];

	say_hello(IPC_VERSION);
	await_welcome();
	for (int i = 0; i < GARBAGE_MESSAGES; i++) {
		for (size_t n = 0; n < ARRAY_LEN(bytes); n++)
			bytes[n] = next_random();
		if (i % 2)
			bytes[0] = 1 + bytes[0] % (IPC_TYPE_END - 1);
		send(channel, bytes, 1 + next_random() % (sizeof(bytes) - 1),
		     MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static void truncated(void)
{
	size_t size = encode(IPC_HELLO, &(struct ipc_hello){.version = IPC_VERSION}, NULL, 0);

	send_bytes(packet, size - 1);
}

static void lengthened(void)
{
	size_t size = encode(IPC_HELLO, &(struct ipc_hello){.version = IPC_VERSION}, NULL, 0);

	send_bytes(packet, size + 1);
}

static void one_byte(void)
{
	send_bytes("x", 1);
}

static void unknown_type(void)
{
	packet[0] = 4000000000u;
	send_bytes(packet, sizeof(packet[0]));
}

static void supervisors_message(void)
{
	say_hello(IPC_VERSION);
	await_welcome();
	say(IPC_RELEASE, &(struct ipc_release){.listener = 0});
}

static void other_version(void)
{
	say_hello(IPC_VERSION + 1);
}

static void ready_before_hello(void)
{
	say(IPC_READY, NULL);
}

static void hello_twice(void)
{
	say_hello(IPC_VERSION);
	await_welcome();
	say_hello(IPC_VERSION);
}

static void stray_descriptor(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t size = encode(IPC_HELLO, &(struct ipc_hello){.version = IPC_VERSION}, NULL, 0);
	struct iovec part = {packet, size};

	if (fdpass_send(channel, &part, 1, &null, 1) < 0)
		perror("fake worker: fdpass_send");
}

/* Counts for a listener that there is not, in answer to a question that nobody asked. */
static void unasked_count(void)
{
	const struct ipc_counted_row row = {.listener = 4000000000u, .connections = 1};
	const struct ipc_counted counted = {.request = 4000000000u, .last = 1};

	say_hello(IPC_VERSION);
	await_welcome();
	send_bytes(packet, encode(IPC_COUNTED, &counted, &row, 1));
}

/* Connections of a listener that there is not, though nobody asked. */
static void unasked_list(void)
{
	const struct ipc_listed_row row = {.listener = 4000000000u, .accepted_us = {1, 0}};
	const struct ipc_listed listed = {.request = 4000000000u};

	say_hello(IPC_VERSION);
	await_welcome();
	send_bytes(packet, encode(IPC_LISTED, &listed, &row, 1));
}

static void unasked_rest(void)
{
	say_hello(IPC_VERSION);
	await_welcome();
	say(IPC_RESTING, NULL);
}

static void held_permits(void)
{
	const struct ipc_held_row row = {.listener = 0, .kept = 5, .used = 5};

	say_hello(IPC_VERSION);
	await_welcome();
	send_bytes(packet, encode(IPC_HELD, NULL, &row, 1));
}

/* Correct in every message, and never done: answers to a question of long ago. */
static void flood(void)
{
	const struct ipc_counted counted = {.request = 0, .last = 1};

	say_hello(IPC_VERSION);
	await_welcome();
	say(IPC_READY, NULL);
	size_t size = encode(IPC_COUNTED, &counted, NULL, 0);
	for (;;) {
		struct pollfd entry = {.fd = channel, .events = POLLOUT};

		if (send(channel, packet, size, MSG_NOSIGNAL) == -1 && poll(&entry, 1, -1) == -1)
			return;
	}
}

/* The memory that comes after WELCOME. */
static void await_claims(struct claims *claims)
{
	struct pollfd entry = {.fd = channel, .events = POLLIN};
	int fd = -1;
	size_t n_fds;

	await_welcome();
	if (poll(&entry, 1, WELCOME_MS) != 1 ||
	    fdpass_recv(channel, packet, sizeof(packet), &fd, 1, &n_fds) <= 0 || n_fds != 1 ||
	    claims_open(claims, fd) < 0)
		exit(70);
}

/* Takes connections that there were not. */
static void unsent_claim(void)
{
	struct claims claims;

	say_hello(IPC_VERSION);
	await_claims(&claims);
	claims_take(&claims, 1);
	say(IPC_PROGRESS, &(struct ipc_progress){.taken = 1});
}

static void say_no_connections(uint32_t request)
{
	say(IPC_COUNTED, &(struct ipc_counted){.request = request, .last = 1});
}

/* Serves nobody, but all seems well until it is told something. Then it takes
 * connections that there were not, and has the supervisor look: that finds out by itself, and not
 * from a message about it. */
static void break_when_told(enum ipc_type type)
{
	struct pollfd entry = {.fd = channel, .events = POLLIN};
	struct claims claims;

	say_hello(IPC_VERSION);
	await_claims(&claims);
	say(IPC_READY, NULL);
	while (poll(&entry, 1, -1) == 1 && recv(channel, packet, sizeof(packet), 0) > 0) {
		if (packet[0] == (uint32_t)type) {
			claims_take(&claims, GARBAGE_MESSAGES);
			say_no_connections(0);
			return;
		}
		if (packet[0] == IPC_COUNT)
			say_no_connections(packet[1]);
	}
}

static void break_at_rest(void)
{
	break_when_told(IPC_REST);
}

static void break_at_count(void)
{
	break_when_told(IPC_COUNT);
}

static void break_at_list(void)
{
	break_when_told(IPC_LIST);
}

/* Writes all over the page, also where only the supervisor writes. */
static void garbage_claims(void)
{
	struct claims claims;

	say_hello(IPC_VERSION);
	await_claims(&claims);
	for (int i = 0; i < GARBAGE_SIZE; i++)
		((unsigned char *)claims.page)[i] = (unsigned char)next_random();
	say(IPC_PROGRESS, &(struct ipc_progress){.taken = 0});
}

/* Counts for a listener that there is not. */
static void unknown_progress(void)
{
	const struct ipc_counted_row row = {.listener = 4000000000u, .connections = 1};
	const struct ipc_progress progress = {.taken = 0};

	say_hello(IPC_VERSION);
	await_welcome();
	send_bytes(packet, encode(IPC_PROGRESS, &progress, &row, 1));
}

/* A message of a user's, which has none here. */
static void user_message(void)
{
	const struct ipc_mail mail = {.number = 1, .size = 2};

	say_hello(IPC_VERSION);
	await_welcome();
	send_bytes(packet, encode(IPC_MAIL, &mail, "hi", 2));
}

static void silent(void)
{
}

static const struct {
	const char *name;
	void (*misbehave)(void);
} shapes[] = {
	{"garbage", garbage},
	{"truncated", truncated},
	{"lengthened", lengthened},
	{"one-byte", one_byte},
	{"unknown-type", unknown_type},
	{"supervisors-message", supervisors_message},
	{"other-version", other_version},
	{"ready-before-hello", ready_before_hello},
	{"hello-twice", hello_twice},
	{"stray-descriptor", stray_descriptor},
	{"unasked-count", unasked_count},
	{"unasked-list", unasked_list},
	{"unasked-rest", unasked_rest},
	{"held-permits", held_permits},
	{"flood", flood},
	{"unsent-claim", unsent_claim},
	{"garbage-claims", garbage_claims},
	{"unknown-progress", unknown_progress},
	{"user-message", user_message},
	{"break-at-rest", break_at_rest},
	{"break-at-count", break_at_count},
	{"break-at-list", break_at_list},
	{"silent", silent},
};

/* Whether this is the first to be started so. */
static bool is_first(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s.pid", name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return false;
	dprintf(fd, "%d\n", (int)getpid());
	close(fd);
	return true;
}

/* usher-worker is two folders above this program. */
static void become_worker(char *argv[])
{
	char path[4096];
	ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - sizeof("/usher-worker"));

	for (int levels = 0; size > 0 && levels < 3; size--)
		if (path[size - 1] == '/')
			levels++;
	if (size > 0) {
		strcpy(path + size, "/usher-worker");
		execv(path, argv);
	}
	perror("fake worker: exec");
	exit(70);
}

int main(int argc, char *argv[])
{
	const char *channel_number = getenv(IPC_CHANNEL_VARIABLE);
	const char *path = getenv("FAKE_WORKER");
	const char *slash = path ? strrchr(path, '/') : NULL;

	if (argc < 1 || !channel_number || !slash)
		return 64;
	if (!is_first(path))
		become_worker(argv);

	channel = (int)strtol(channel_number, NULL, 10);
	signal(SIGTERM, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		if (strcmp(shapes[i].name, slash + 1) == 0) {
			shapes[i].misbehave();
			for (;;)
				pause();
		}
	fprintf(stderr, "fake worker: no shape %s\n", slash + 1);
	return 64;
}
