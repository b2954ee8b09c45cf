/* How far apart two processors are: how long a cache line takes from one to the other and back.
 *
 * Under a hypervisor this is the state of the machine. The host moves virtual processors while one
 * looks: onto one die, where they share a cache, or onto two, where a line takes five times as long
 * and whatever passes between two processes takes half as long again. Recorded beside each sample.
 *
 *   limit_distance CPU CPU
 *
 * Prints nanoseconds; the median of 10 ms. */
#include <err.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/number.h"
#include "tests/load/clock.h"
#include "tests/load/histogram.h"

#define SETTLE_NS  1000000
#define MEASURE_NS 10000000

/* Between two looks at the clock, which takes as long as a near line. */
#define TRIPS_OF_A_LOOK 64

/* On a processor that others keep busy the other process has its turn late. */
#define PATIENCE_NS     5000000000
#define SPINS_OF_A_LOOK (1U << 20)

/* In memory of both, odd while it is the other one's turn. */
static _Atomic uint32_t *line;

static uint64_t cpu_of(const char *text)
{
	uint64_t cpu;

	if (number_parse(text, CPU_SETSIZE - 1, &cpu) < 0)
		errx(EX_USAGE, "not a processor: %s", text);
	return cpu;
}

static void pin(uint64_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == -1)
		err(EX_UNAVAILABLE, "processor %u", (unsigned)cpu);
}

static void wait_for(uint32_t value)
{
	uint64_t deadline = 0;

	for (uint32_t spins = 1; atomic_load(line) != value; spins++) {
		if (spins % SPINS_OF_A_LOOK)
			continue;
		if (deadline == 0)
			deadline = clock_ns() + PATIENCE_NS;
		else if (clock_ns() > deadline)
			errx(EX_SOFTWARE, "the other process does not answer");
	}
}

/* Until it is killed. */
__attribute__((noreturn)) static void send_back(void)
{
	for (uint32_t turn = 1;; turn += 2) {
		wait_for(turn);
		atomic_store(line, turn + 1);
	}
}

static void make_trips(uint64_t ns, struct histogram *h)
{
	static uint32_t turn;
	uint64_t before = clock_ns(), end = before + ns;

	while (before < end) {
		uint64_t now;

		for (int i = 0; i < TRIPS_OF_A_LOOK; i++) {
			atomic_store(line, turn + 1);
			wait_for(turn += 2);
		}
		now = clock_ns();
		if (h)
			histogram_add(h, (now - before) / TRIPS_OF_A_LOOK);
		before = now;
	}
}

int main(int argc, char *argv[])
{
	static struct histogram h;
	uint64_t here, there;
	pid_t parent = getpid(), pid;

	if (argc != 3)
		errx(EX_USAGE, "usage: limit_distance CPU CPU");
	here = cpu_of(argv[1]);
	there = cpu_of(argv[2]);
	if (here == there)
		errx(EX_USAGE, "both are processor %s", argv[1]);
	line = mmap(NULL, sizeof(*line), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (line == MAP_FAILED)
		err(EX_OSERR, "mmap");

	pid = fork();
	if (pid == -1)
		err(EX_OSERR, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		pin(there);
		send_back();
	}
	pin(here);
	make_trips(SETTLE_NS, NULL);
	make_trips(MEASURE_NS, &h);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("%llu\n", (unsigned long long)histogram_percentile(&h, 0.5));
	return 0;
}
