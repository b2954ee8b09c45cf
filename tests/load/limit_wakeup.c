/* How long two processes on two processors take to wake each other, there and back: the state of
 * the machine. Under a hypervisor it changes while one looks, and figures that need two processors
 * change with it by a factor of two; it is recorded beside each of them.
 *
 *   limit_wakeup CPU CPU
 *
 * Prints microseconds; the median of 20 ms. */
#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/number.h"
#include "tests/load/clock.h"
#include "tests/load/histogram.h"

#define SETTLE_NS  2000000
#define MEASURE_NS 20000000

static void pin(const char *text)
{
	uint64_t cpu;
	cpu_set_t set;

	if (number_parse(text, CPU_SETSIZE - 1, &cpu) < 0)
		errx(EX_USAGE, "not a processor: %s", text);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == -1)
		err(EX_UNAVAILABLE, "processor %s", text);
}

static void answer(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) == 1) {
		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
			return;
	}
}

static void ask_for(int fd, uint64_t ns, struct histogram *h)
{
	uint64_t before = clock_ns(), end = before + ns;
	char byte = 0;

	while (before < end) {
		uint64_t now;

		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
			errx(EX_SOFTWARE, "the other process is gone");
		now = clock_ns();
		if (h)
			histogram_add(h, now - before);
		before = now;
	}
}

int main(int argc, char *argv[])
{
	static struct histogram h;
	int pair[2];
	pid_t pid;

	if (argc != 3)
		errx(EX_USAGE, "usage: limit_wakeup CPU CPU");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		err(EX_OSERR, "socketpair");
	pid = fork();
	if (pid == -1)
		err(EX_OSERR, "fork");
	if (pid == 0) {
		close(pair[0]);
		pin(argv[2]);
		answer(pair[1]);
		_exit(0);
	}

	close(pair[1]);
	pin(argv[1]);
	ask_for(pair[0], SETTLE_NS, NULL);
	ask_for(pair[0], MEASURE_NS, &h);
	close(pair[0]);
	waitpid(pid, NULL, 0);
	printf("%.2f\n", (double)histogram_percentile(&h, 0.5) / 1000);
	return 0;
}
