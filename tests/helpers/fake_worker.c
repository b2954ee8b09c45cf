/* A worker that breaks the rules of the channel, for tests of usherd. It is named by a link whose
 * name says how: FOLDER/fake-SHAPE. The first one that is started misbehaves, leaves its pid in
 * FOLDER/fake-SHAPE.pid, and then ignores SIGTERM for ever; all others become usher-worker. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fdpass.h"
#include "common/ipc/messages.h"

#define GARBAGE_MESSAGES 1000
#define GARBAGE_SIZE     2000

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

/* The supervisor's answer has come: WELCOME is the first message. */
static void await_welcome(void)
{
	if (recv(channel, packet, sizeof(packet), MSG_PEEK) <= 0)
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
		for (size_t n = 0; n < sizeof(bytes) / sizeof(bytes[0]); n++)
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
	{"silent", silent},
};

/* Whether this is the first to be started by this name. */
static int is_first(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s.pid", name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return 0;
	dprintf(fd, "%d\n", (int)getpid());
	close(fd);
	return 1;
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
	const char *variable = getenv(IPC_CHANNEL_VARIABLE);
	const char *dash = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (!variable || !dash || strncmp(dash, "/fake-", 6) != 0)
		return 64;
	if (!is_first(argv[0]))
		become_worker(argv);

	channel = (int)strtol(variable, NULL, 10);
	signal(SIGTERM, SIG_IGN);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, dash + 6) == 0) {
			shapes[i].misbehave();
			for (;;)
				pause();
		}
	fprintf(stderr, "fake worker: no shape %s\n", dash + 6);
	return 64;
}
