#include "tests/load/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "common/macros.h"

#define MIB (1 << 20)

static const double parts[] = {0.5, 0.9, 0.99, 0.999};
static const char *const part_names[] = {"p50", "p90", "p99", "p999"};

static double per(double sum, double count)
{
	return count > 0 ? sum / count : 0;
}

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static uint64_t all_operations(const struct run_result *r)
{
	return r->tally.lanes[LANE_MAIN].operations + r->tally.lanes[LANE_CHURN].operations;
}

static uint64_t all_failures(const struct run_result *r)
{
	uint64_t sum = 0;

	for (int i = 0; i < FAILURES; i++)
		sum += r->tally.failures[i];
	return sum;
}

static double pss_per_connection(const struct run_result *r)
{
	if (r->pss_open < r->pss_before)
		return 0;
	return per((double)(r->pss_open - r->pss_before), (double)r->tally.connected);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static json_t *latency_json(const struct histogram *h)
{
	json_t *object = json_object();

	json_object_set_new(object, "min", json_real(h->count ? us(h->min) : 0));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		json_object_set_new(object, part_names[i],
				    json_real(us(histogram_percentile(h, parts[i]))));
	json_object_set_new(object, "max", json_real(us(h->max)));
	return object;
}

static json_t *lane_json(const struct lane *lane, double seconds)
{
	return json_pack("{s:I, s:f, s:f, s:o}", "operations", (json_int_t)lane->operations,
			 "per_second", per((double)lane->operations, seconds), "mib_per_second",
			 per((double)lane->bytes / MIB, seconds), "latency_us",
			 latency_json(&lane->latency));
}

static json_t *failures_json(const struct tally *t)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:s}", "connect",
			 (json_int_t)t->failures[FAILED_CONNECT], "connection",
			 (json_int_t)t->failures[FAILED_CONNECTION], "bytes",
			 (json_int_t)t->failures[FAILED_BYTES], "unanswered",
			 (json_int_t)t->failures[FAILED_ANSWER], "first", t->complaint);
}

static json_t *spread_json(const struct run_result *r)
{
	json_t *array = json_array();

	for (size_t i = 0; i < r->spread_count; i++)
		json_array_append_new(array, json_integer((json_int_t)r->spread[i]));
	return array;
}

static json_t *server_json(const struct run_result *r)
{
	double operations = (double)all_operations(r);

	return json_pack("{s:I, s:f, s:f, s:f, s:I, s:I, s:f, s:o}", "processes",
			 (json_int_t)r->server_processes, "cpu_seconds", r->server_cpu_seconds,
			 "cpu_us_per_operation", per(r->server_cpu_seconds * 1e6, operations),
			 "switches_per_operation", per((double)r->server_switches, operations),
			 "pss_before", (json_int_t)r->pss_before, "pss_open",
			 (json_int_t)r->pss_open, "pss_per_connection", pss_per_connection(r),
			 "spread", spread_json(r));
}

static json_t *settings_json(const struct load_options *o)
{
	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "mode",
			 load_mode_names[o->mode], "target", o->path ? o->path : o->host, "port",
			 (int)o->port, "connections", (json_int_t)o->connections, "size",
			 (json_int_t)o->size, "pipeline", (json_int_t)o->pipeline, "rate",
			 (json_int_t)o->rate, "open_rate", (json_int_t)o->open_rate, "processes",
			 (json_int_t)o->processes, "verify", (int)o->verify);
}

static json_t *result_json(const struct load_options *o, const struct run_result *r)
{
	const struct tally *t = &r->tally;
	json_t *lag = json_pack("{s:f, s:f}", "p50", us(histogram_percentile(&t->lag, 0.5)), "p99",
				us(histogram_percentile(&t->lag, 0.99)));

	return json_pack(
		"{s:i, s:o, s:f, s:f, s:o, s:o?, s:o, s:I, s:o, s:{s:I, s:I}, s:o?,"
		" s:o?, s:{s:I, s:f, s:f, s:b}, s:{s:I, s:f, s:f, s:b}}",
		"version", 1, "settings", settings_json(o), "seconds", r->seconds, "open_seconds",
		r->open_seconds, "result", lane_json(&t->lanes[LANE_MAIN], r->seconds), "churn",
		o->mode == LOAD_MIXED ? lane_json(&t->lanes[LANE_CHURN], r->seconds) : NULL,
		"lag_us", lag, "behind", (json_int_t)t->behind, "failures", failures_json(t),
		"total", "connections", (json_int_t)t->connected, "operations",
		(json_int_t)t->operations, "server", r->server_processes ? server_json(r) : NULL,
		"midway", o->midway ? json_pack("{s:i}", "status", r->midway_status) : NULL,
		"client", "processes", (json_int_t)r->clients, "cpu_share", r->own_share,
		"cpu_us_per_operation", per(r->own_cpu_seconds * 1e6, (double)all_operations(r)),
		"bottleneck", (int)r->bottleneck, "machine", "cpus", (json_int_t)r->cpus,
		"foreign_share", r->foreign_share, "steal_share", r->steal_share, "disturbed",
		(int)r->disturbed);
}

int report_json(const struct load_options *options, const struct run_result *result)
{
	json_t *object = result_json(options, result);
	int r = 0;

	if (!object)
		return -ENOMEM;
	if (json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) < 0 ||
	    putchar('\n') == EOF || fflush(stdout) == EOF)
		r = -EIO;
	json_decref(object);
	return r;
}

/* --- table ---------------------------------------------------------------------------------- */

static void print_latency(const char *name, const struct histogram *h)
{
	if (h->count == 0)
		return;
	printf("%-12s", name);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		printf(" %s %.1f ", part_names[i], us(histogram_percentile(h, parts[i])));
	printf(" max %.1f us\n", us(h->max));
}

static void print_lane(const char *name, const struct lane *lane, double seconds)
{
	printf("%-12s %.0f/s, %.1f MiB/s back (%llu in %.2f s)\n", name,
	       per((double)lane->operations, seconds), per((double)lane->bytes / MIB, seconds),
	       (unsigned long long)lane->operations, seconds);
	print_latency("latency", &lane->latency);
}

static void print_server(const struct run_result *r)
{
	double operations = (double)all_operations(r);

	if (r->server_processes == 0)
		return;
	printf("%-12s %zu processes, %.2f us of processor and %.2f switches an operation\n",
	       "server", r->server_processes, per(r->server_cpu_seconds * 1e6, operations),
	       per((double)r->server_switches, operations));
	printf("%-12s %.1f MiB, before %.1f MiB: %.0f bytes a connection (PSS)\n", "memory",
	       (double)r->pss_open / MIB, (double)r->pss_before / MIB, pss_per_connection(r));
	printf("%-12s", "spread");
	for (size_t i = 0; i < r->spread_count; i++)
		printf(" %llu", (unsigned long long)r->spread[i]);
	printf(" connections in its processes\n");
}

static void print_failures(const struct run_result *r)
{
	const struct tally *t = &r->tally;

	if (all_failures(r) == 0)
		return;
	printf("%-12s %llu connects, %llu connections, %llu with wrong bytes, %llu unanswered\n",
	       "FAILED", (unsigned long long)t->failures[FAILED_CONNECT],
	       (unsigned long long)t->failures[FAILED_CONNECTION],
	       (unsigned long long)t->failures[FAILED_BYTES],
	       (unsigned long long)t->failures[FAILED_ANSWER]);
	printf("%-12s %s\n", "first", t->complaint);
}

static void print_doubts(const struct load_options *o, const struct run_result *r)
{
	if (r->bottleneck)
		printf("%-12s usher-load itself was the limit: %.0f %% of a processor, late by "
		       "%.0f us "
		       "(p99)\n",
		       "BOTTLENECK", r->own_share * 100,
		       us(histogram_percentile(&r->tally.lag, 0.99)));
	if (r->disturbed)
		printf("%-12s others took %.0f %% of a processor\n", "DISTURBED",
		       (r->foreign_share + r->steal_share) * 100);
	if (r->tally.behind > o->connections)
		printf("%-12s %llu operations were due and not over at the end\n", "behind",
		       (unsigned long long)r->tally.behind);
}

int report_table(const struct load_options *o, const struct run_result *r)
{
	const struct tally *t = &r->tally;

	printf("%-12s %s, %llu connections, %llu bytes, pipeline %llu\n", load_mode_names[o->mode],
	       o->path ? o->path : o->host, (unsigned long long)o->connections,
	       (unsigned long long)o->size, (unsigned long long)o->pipeline);
	print_lane("result", &t->lanes[LANE_MAIN], r->seconds);
	if (o->mode == LOAD_MIXED)
		print_lane("churn", &t->lanes[LANE_CHURN], r->seconds);
	print_latency("own lag", &t->lag);
	printf("%-12s %llu connections, %llu operations, opened in %.2f s\n", "in all",
	       (unsigned long long)t->connected, (unsigned long long)t->operations,
	       r->open_seconds);
	print_server(r);
	printf("%-12s %zu processes, the busiest used %.0f %% of a processor; others %.0f %%\n",
	       "usher-load", r->clients, r->own_share * 100, r->foreign_share * 100);
	if (o->midway)
		printf("%-12s the command ended with %d\n", "midway", r->midway_status);
	print_failures(r);
	print_doubts(o, r);
	return fflush(stdout) == EOF ? -EIO : 0;
}
