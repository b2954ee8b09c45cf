#include "tests/load/tally.h"

#include <stdio.h>
#include <time.h>

#include "tests/load/clock.h"

static uint64_t own_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_OF_A_SECOND + (uint64_t)used.tv_nsec;
}

void tally_open(struct tally *t)
{
	t->cpu_ns = own_cpu_ns();
	t->wall_ns = clock_ns();
	t->measuring = true;
}

void tally_close(struct tally *t)
{
	if (!t->measuring)
		return;
	t->measuring = false;
	t->cpu_ns = own_cpu_ns() - t->cpu_ns;
	t->wall_ns = clock_ns() - t->wall_ns;
}

void tally_operation(struct tally *t, enum lane_id lane, uint64_t began_ns, uint64_t bytes)
{
	t->operations++;
	if (!t->measuring)
		return;
	t->lanes[lane].operations++;
	t->lanes[lane].bytes += bytes;
	histogram_add(&t->lanes[lane].latency, clock_ns() - began_ns);
}

void tally_bytes(struct tally *t, enum lane_id lane, uint64_t bytes)
{
	if (t->measuring)
		t->lanes[lane].bytes += bytes;
}

void tally_lag(struct tally *t, uint64_t lag_ns)
{
	if (t->measuring)
		histogram_add(&t->lag, lag_ns);
}

void tally_failure(struct tally *t, enum failure failure, const char *text)
{
	t->failures[failure]++;
	if (!t->complaint[0])
		snprintf(t->complaint, sizeof(t->complaint), "%s", text);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void tally_merge(struct tally *t, const struct tally *other)
{
	for (int i = 0; i < LANES; i++) {
		t->lanes[i].operations += other->lanes[i].operations;
		t->lanes[i].bytes += other->lanes[i].bytes;
		histogram_merge(&t->lanes[i].latency, &other->lanes[i].latency);
	}
	histogram_merge(&t->lag, &other->lag);
	t->behind += other->behind;

	t->connected += other->connected;
	t->operations += other->operations;
	for (int i = 0; i < FAILURES; i++)
		t->failures[i] += other->failures[i];
	if (!t->complaint[0])
		snprintf(t->complaint, sizeof(t->complaint), "%s", other->complaint);
	t->cpu_ns = larger(t->cpu_ns, other->cpu_ns);
	t->wall_ns = larger(t->wall_ns, other->wall_ns);
}
