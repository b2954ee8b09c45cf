#include "daemon/ctl_show.h"

#include <stdbool.h>
#include <string.h>

#include "common/macros.h"
#include "daemon/ctl_value.h"

static int print_and_drop(struct ctl_table *t, FILE *out)
{
	int r = ctl_table_print(t, out);

	ctl_table_done(t);
	return r;
}

/* --- status ----------------------------------------------------------------------------------- */

static int show_workers(const json_t *workers, FILE *out)
{
	static const struct ctl_column columns[] = {
		{"WORKER", true}, {"SLOT", true}, {"PID", true},
		{"STATE", false}, {"AGE", true},  {"RESTARTS", true},
	};
	char duration[CTL_DURATION_SIZE];
	struct ctl_table t;
	const json_t *row;
	size_t i;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach (workers, i, row) {
		ctl_add_number(&t, row, "worker");
		ctl_add_number(&t, row, "slot");
		ctl_add_number(&t, row, "pid");
		ctl_add_text(&t, row, "state");
		ctl_table_add(&t, "%s", ctl_duration_of(row, "age_s", duration));
		ctl_add_number(&t, row, "restarts");
	}
	return print_and_drop(&t, out);
}

/* Who serves a listener: a handler, or programs in these workers. */
static void add_handler(struct ctl_table *t, const json_t *row)
{
	const json_t *holders = json_object_get(row, "holders"), *holder;
	AUTO_FREE char *text = NULL;
	size_t i, size;

	if (!json_is_array(holders)) {
		ctl_add_text(t, row, "handler");
		return;
	}
	FILE *out = open_memstream(&text, &size);
	if (!out) {
		t->failed = true;
		return;
	}
	fputs(json_array_size(holders) == 1 ? "of worker" : "of workers", out);
	json_array_foreach (holders, i, holder) {
		fprintf(out, "%s %" JSON_INTEGER_FORMAT, i ? "," : "", json_integer_value(holder));
	}
	if (fclose(out) == EOF)
		t->failed = true;
	else
		ctl_table_add(t, "%s", text);
}

/* Dashes without a limit. */
static void add_limit(struct ctl_table *t, const json_t *limit)
{
	ctl_add_number(t, limit, "in_use");
	ctl_add_number(t, limit, "connections");
	ctl_add_number(t, limit, "turned_away");
}

static int show_listeners(const json_t *listeners, FILE *out)
{
	static const struct ctl_column columns[] = {
		{"LISTENER", false},   {"ADDRESS", false}, {"KIND", false},    {"EXCLUSIVE", false},
		{"DISTRIBUTE", false}, {"OWNER", true},    {"HANDLER", false}, {"IN USE", true},
		{"LIMIT", true},       {"AWAY", true},
	};
	struct ctl_table t;
	const json_t *row;
	size_t i;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach (listeners, i, row) {
		ctl_add_text(&t, row, "name");
		ctl_add_text(&t, row, "address");
		ctl_add_text(&t, row, "kind");
		ctl_add_yes_no(&t, row, "exclusive");
		ctl_add_text(&t, row, "distribute");
		ctl_add_number(&t, row, "owner");
		add_handler(&t, row);
		add_limit(&t, json_object_get(row, "limit"));
	}
	return print_and_drop(&t, out);
}

static int show_supervisor(const json_t *supervisor, FILE *out)
{
	static const struct ctl_column columns[] = {
		{"USHERD", false}, {"PID", true},     {"STATE", false},
		{"UPTIME", true},  {"CONFIG", false},
	};
	char duration[CTL_DURATION_SIZE];
	struct ctl_table t;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	ctl_add_text(&t, supervisor, "version");
	ctl_add_number(&t, supervisor, "pid");
	ctl_add_text(&t, supervisor, "state");
	ctl_table_add(&t, "%s", ctl_duration_of(supervisor, "uptime_s", duration));
	ctl_add_text(&t, supervisor, "config");
	return print_and_drop(&t, out);
}

int ctl_show_status(const json_t *answer, FILE *out)
{
	int r = show_supervisor(json_object_get(answer, "supervisor"), out);

	if (r < 0)
		return r;
	fputc('\n', out);
	r = show_workers(json_object_get(answer, "workers"), out);
	if (r < 0)
		return r;
	fputc('\n', out);
	return show_listeners(json_object_get(answer, "listeners"), out);
}

/* --- connections ------------------------------------------------------------------------------ */

static int show_sums(const json_t *answer, FILE *out)
{
	static const struct ctl_column columns[] = {{"LISTENER", false}, {"CONNECTIONS", true}};
	const json_t *row;
	struct ctl_table t;
	size_t i;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach (json_object_get(answer, "listeners"), i, row) {
		ctl_add_text(&t, row, "name");
		ctl_add_number(&t, row, "connections");
	}
	ctl_table_add(&t, "(all)");
	ctl_add_number(&t, answer, "connections");
	return print_and_drop(&t, out);
}

/* "echo 5, web 2" in one cell, as the number of listeners knows no page width. */
static void add_shares(struct ctl_table *t, const json_t *listeners)
{
	AUTO_FREE char *shares = NULL;
	size_t i, size;
	const json_t *row;
	FILE *text = open_memstream(&shares, &size);

	if (!text) {
		t->failed = true;
		return;
	}
	json_array_foreach (listeners, i, row) {
		fprintf(text, "%s%s %" JSON_INTEGER_FORMAT, i ? ", " : "", ctl_text_of(row, "name"),
			json_integer_value(json_object_get(row, "connections")));
	}
	if (fclose(text) == EOF)
		t->failed = true;
	else
		ctl_table_add(t, "%s", *shares ? shares : "-");
}

/* What no worker has yet has a row of its own when there is some. */
static void add_waiting(struct ctl_table *t, const json_t *waiting)
{
	if (json_integer_value(json_object_get(waiting, "connections")) == 0)
		return;
	for (int i = 0; i < 3; i++)
		ctl_table_add(t, "-");
	ctl_table_add(t, "(waiting)");
	ctl_add_number(t, waiting, "connections");
	add_shares(t, json_object_get(waiting, "listeners"));
}

static int show_rows(const json_t *workers, const json_t *waiting, FILE *out)
{
	static const struct ctl_column columns[] = {
		{"WORKER", true}, {"SLOT", true},        {"PID", true},
		{"STATE", false}, {"CONNECTIONS", true}, {"BY LISTENER", false},
	};
	const json_t *row;
	struct ctl_table t;
	size_t i, stale = 0;
	int r;

	ctl_table_init(&t, columns, ARRAY_LEN(columns));
	json_array_foreach (workers, i, row) {
		bool old = json_is_true(json_object_get(row, "stale"));

		stale += old;
		ctl_add_number(&t, row, "worker");
		ctl_add_number(&t, row, "slot");
		ctl_add_number(&t, row, "pid");
		ctl_table_add(&t, "%s%s", ctl_text_of(row, "state"), old ? " *" : "");
		ctl_add_number(&t, row, "connections");
		add_shares(&t, json_object_get(row, "listeners"));
	}
	add_waiting(&t, waiting);
	r = print_and_drop(&t, out);
	if (r == 0 && stale > 0)
		fputs("* did not answer in time: its last known figures\n", out);
	return r;
}

int ctl_show_connections(const json_t *answer, FILE *out)
{
	int r = show_sums(answer, out);

	if (r < 0)
		return r;
	fputc('\n', out);
	return show_rows(json_object_get(answer, "workers"), json_object_get(answer, "waiting"),
			 out);
}

/* --- orders ----------------------------------------------------------------------------------- */

int ctl_show_scale(const json_t *answer, FILE *out)
{
	const json_t *workers = json_object_get(answer, "workers");
	int r;

	if (json_is_integer(workers))
		r = fprintf(out, "usherd goes to %" JSON_INTEGER_FORMAT " workers\n",
			    json_integer_value(workers));
	else
		r = fputs("usherd goes to that number of workers\n", out);
	return r < 0 ? -EIO : 0;
}

int ctl_show_worker(const json_t *answer, FILE *out)
{
	const char *state = ctl_text_of(answer, "state");
	json_int_t worker = json_integer_value(json_object_get(answer, "worker"));
	int r = fprintf(out, "worker %" JSON_INTEGER_FORMAT " is %s%s\n", worker, state,
			strcmp(state, "resting") == 0
				? ": it gets no new connections, and serves those it has"
				: "");

	return r < 0 ? -EIO : 0;
}

int ctl_show_stop(const json_t *answer, FILE *out)
{
	return fputs("usherd is stopping\n", out) == EOF ? -EIO : 0;
}
