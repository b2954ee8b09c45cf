/* What one load process counts. It lies in memory shared with the parent: the process writes, the
 * parent reads, the live figures at any time and all of them when the process has ended.
 *
 * Order:  tally_open() begins the measured time, tally_close() ends it; between the two operations
 *         go to the lanes. The totals count from the start of the process. */
#ifndef USHER_TESTS_LOAD_TALLY_H
#define USHER_TESTS_LOAD_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/load/histogram.h"

/* Mixed load has two kinds of operation; the others have the first alone. */
enum lane_id { LANE_MAIN, LANE_CHURN, LANES };

struct lane {
	uint64_t operations;
	uint64_t bytes;           /* that came back */
	struct histogram latency; /* ns */
};

enum failure {
	FAILED_CONNECT,
	FAILED_CONNECTION, /* reset, or closed by the server */
	FAILED_BYTES,      /* other ones came back, or more than were sent */
	FAILED_ANSWER,     /* none until the end */
	FAILURES,
};

struct tally {
	bool measuring;
	struct lane lanes[LANES];
	struct histogram lag; /* ns from when a paced operation was due to when it was begun */
	uint64_t behind;      /* paced operations that were due, and not over, at the end */

	uint64_t connected; /* totals */
	uint64_t operations;
	uint64_t failures[FAILURES];
	char complaint[192]; /* about the first failure */

	uint64_t cpu_ns; /* of this process while it measured */
	uint64_t wall_ns;
};

void tally_open(struct tally *t);
void tally_close(struct tally *t);

/* An operation has ended that began, or was due, at began_ns. */
void tally_operation(struct tally *t, enum lane_id lane, uint64_t began_ns, uint64_t bytes);
void tally_bytes(struct tally *t, enum lane_id lane, uint64_t bytes);
void tally_lag(struct tally *t, uint64_t lag_ns);
void tally_failure(struct tally *t, enum failure failure, const char *text);

/* Adds other, except its complaint if there is one already. cpu_ns and wall_ns become the larger
 * ones: of the busiest process. */
void tally_merge(struct tally *t, const struct tally *other);

#endif
