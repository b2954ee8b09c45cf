/* What the library costs, measured on itself: a server in this process, its clients in a child.
 *
 *   net_cost [CONNECTIONS]   memory of idle connections, and allocations for an echo
 *   net_cost echo ROUNDS     nothing but so many round trips: for strace(1)
 *
 * Every allocation of the process is counted, libev's too, by standing before the C library's. */
#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/net/net.h"

#define CONNECTIONS      10000
#define WARM_UP          100
#define ROUNDS           10000
#define MESSAGE          64
#define DEADLINE_SECONDS 120
#define SHOWN            __attribute__((visibility("default")))

static size_t allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

SHOWN void *malloc(size_t size)
{
	allocations++;
	return __libc_malloc(size);
}

SHOWN void *calloc(size_t count, size_t size)
{
	allocations++;
	return __libc_calloc(count, size);
}

SHOWN void *realloc(void *old, size_t size)
{
	allocations++;
	return __libc_realloc(old, size);
}

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- the clients ----------------------------------------------------------------------------- */

static int connect_to(int port)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) == -1)
		die("connect");
	return fd;
}

static void round_trip(int fd)
{
	char data[MESSAGE] = "";

	if (send(fd, data, sizeof(data), 0) != MESSAGE ||
	    recv(fd, data, sizeof(data), MSG_WAITALL) != MESSAGE)
		die("round trip");
}

/* Connects so often, goes round on the first connection, and stays until the parent closes. */
static _Noreturn void be_clients(int port, size_t connections, size_t rounds)
{
	int first = connect_to(port);
	char byte;

	for (size_t i = 1; i < connections; i++)
		connect_to(port);
	for (size_t i = 0; i < rounds; i++)
		round_trip(first);
	_exit(recv(first, &byte, 1, 0) == 0 ? 0 : 1);
}

/* --- the server ------------------------------------------------------------------------------ */

static struct {
	struct ev_loop *loop;
	struct net_server *server;
	size_t accepted;
	size_t rounds;
	size_t allocations; /* when WARM_UP rounds were over */
} bench;

static void echo(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	if (++bench.rounds == WARM_UP)
		bench.allocations = allocations;
	net_socket_write(socket, data, size, NULL, NULL);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	static const struct net_socket_ops ops = {.on_data = echo};

	bench.accepted++;
	net_socket_set_ops(socket, &ops, NULL);
}

/* Listens, and starts a child that is so many clients. */
static pid_t start(size_t connections, size_t rounds)
{
	static const struct net_server_ops ops = {.on_connection = on_connection};
	struct net_address address;
	pid_t child;

	/* The default loop would reap the child. */
	bench.loop = ev_loop_new(EVFLAG_AUTO);
	if (!bench.loop || net_create_server(bench.loop, NULL, &ops, NULL, &bench.server) < 0 ||
	    net_server_listen(bench.server, NULL, NULL, NULL) < 0 ||
	    net_server_address(bench.server, &address) < 0)
		die("listen");
	ev_run(bench.loop, EVRUN_NOWAIT);

	child = fork();
	if (child == -1)
		die("fork");
	if (child == 0)
		be_clients(address.port, connections, rounds);
	return child;
}

static void run_until(const size_t *counter, size_t value)
{
	while (*counter < value)
		ev_run(bench.loop, EVRUN_ONCE);
}

static void finish(pid_t child)
{
	int status;

	net_server_close_all_connections(bench.server);
	net_server_free(bench.server);
	ev_run(bench.loop, 0);
	ev_loop_destroy(bench.loop);
	if (waitpid(child, &status, 0) != child || status != 0)
		die("clients");
}

/* --- numbers --------------------------------------------------------------------------------- */

static size_t heap(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* The process's share of memory in bytes, by proc(5). */
static size_t pss(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	size_t kib = 0;

	if (!file)
		die("/proc/self/smaps_rollup");
	while (kib == 0 && fgets(line, sizeof(line), file))
		(void)sscanf(line, "Pss: %zu", &kib);
	fclose(file);
	return kib * 1024;
}

static void print(const char *what, double value, const char *limit)
{
	printf("%-46s %10.2f   %s\n", what, value, limit);
}

static bool measure(size_t connections)
{
	struct rlimit limit;
	size_t heap_before, pss_before;
	double each, share, round;
	pid_t child;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_max < connections + 32) {
		fprintf(stderr, "net_cost: more descriptors are needed than ulimit -Hn allows\n");
		return false;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		die("setrlimit");

	child = start(connections, WARM_UP + ROUNDS);
	run_until(&bench.accepted, 1);
	heap_before = heap();
	pss_before = pss();
	run_until(&bench.accepted, connections);
	each = (double)(heap() - heap_before) / (double)(connections - 1);
	share = (double)(pss() - pss_before) / (double)(connections - 1);
	run_until(&bench.rounds, WARM_UP + ROUNDS);
	round = (double)(allocations - bench.allocations) / ROUNDS;
	finish(child);

	printf("%zu idle connections, %d round trips of %d bytes\n", connections, ROUNDS, MESSAGE);
	print("bytes per idle connection, heap", each, "at most 320");
	print("bytes per idle connection, share of memory", share, "");
	print("allocations per round trip, after warm-up", round, "0");
	return each <= 320 && round == 0;
}

static bool go_round(size_t rounds)
{
	pid_t child = start(1, rounds);

	run_until(&bench.rounds, rounds);
	finish(child);
	return true;
}

static size_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (value < 2 || value > 1000000 || *end != '\0') {
		fprintf(stderr, "usage: net_cost [CONNECTIONS] | net_cost echo ROUNDS\n");
		exit(64);
	}
	return value;
}

int main(int argc, char **argv)
{
	bool is_good;

	alarm(DEADLINE_SECONDS);
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		is_good = go_round(number(argv[2]));
	else
		is_good = measure(argc > 1 ? number(argv[1]) : CONNECTIONS);
	return is_good ? 0 : 1;
}
