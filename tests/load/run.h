/* One run of the load: processes are forked, told when to begin and end, and watched meanwhile.
 *
 * Owns:   the processes, which end before run_load() returns, and the memory they count in.
 * Errors: 0 or -errno: -ESRCH for a server pid that is not there, -ETIMEDOUT when the processes
 *         were not ready or the connections not open in time, -ENOTCONN when all of them failed,
 *         -ECHILD when a process of ours died. Trouble with connections is in ret->tally.
 * Order:  the machine is looked at when the measured time begins and ends. */
#ifndef USHER_TESTS_LOAD_RUN_H
#define USHER_TESTS_LOAD_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/load/options.h"
#include "tests/load/tally.h"

/* More processes of a server than these are left out of the spread. */
#define RUN_SPREAD_MAX 128

struct run_result {
	struct tally tally;  /* of all processes */
	double seconds;      /* that were measured */
	double open_seconds; /* until all connections were open */
	size_t clients;      /* processes that made load */

	/* Of the server's processes; 0 where none were named. */
	size_t server_processes;
	double server_cpu_seconds;
	uint64_t server_switches;
	uint64_t pss_before, pss_open;
	/* Connections that each process of before the load holds when the measured time ends, most
	 * first. */
	uint64_t spread[RUN_SPREAD_MAX];
	size_t spread_count;

	int midway_status; /* of the command: an exit code, 128 plus a signal, -1: there is none */

	double own_cpu_seconds; /* of all our processes */
	double own_share;       /* of a processor, by our busiest process */
	double foreign_share;   /* of a processor, by all but us, the server and its upstream */
	double steal_share;
	size_t cpus;     /* that we and the server may run on */
	bool bottleneck; /* the load was limited by ourselves */
	bool disturbed;
};

/* *ret is large: not for the stack. */
int run_load(const struct load_options *options, struct run_result *ret);

#endif
