#include "daemon/ctl_list.h"

#include <string.h>
#include <sysexits.h>

#include "common/macros.h"
#include "daemon/control_request.h"
#include "daemon/ctl_table.h"
#include "daemon/ctl_value.h"

static const struct ctl_column columns[] = {
	{"LISTENER", false}, {"WORKER", true}, {"SLOT", true}, {"PID", true},
	{"PEER", false},     {"AGE", true},    {"READ", true}, {"WRITTEN", true},
};

/* What most pages need, so that they stand in line below each other. */
static const size_t widths[ARRAY_LEN(columns)] = {10, 6, 4, 7, 21, 7, 9, 9};

struct listing {
	const struct ctl_options *options;
	ctl_ask_fn *ask;
	void *ctx;
	FILE *out;
	struct ctl_table table;
	bool opened;     /* the beginning was shown */
	bool began;      /* a connection was shown, so that a comma goes before the next */
	bool truncated;  /* usherd has more than it can name */
	json_t *missing; /* the rows of workers that did not answer */
};

/* --- showing -------------------------------------------------------------------------------- */

static void show_row(struct listing *l, const json_t *row)
{
	char duration[CTL_DURATION_SIZE];

	if (l->options->json) {
		if (l->began)
			fputc(',', l->out);
		json_dumpf(row, l->out, JSON_COMPACT);
		l->began = true;
		return;
	}
	ctl_add_text(&l->table, row, "listener");
	ctl_add_number(&l->table, row, "worker");
	ctl_add_number(&l->table, row, "slot");
	ctl_add_number(&l->table, row, "pid");
	ctl_add_text(&l->table, row, "peer");
	ctl_table_add(&l->table, "%s", ctl_duration_of(row, "age_s", duration));
	ctl_add_number(&l->table, row, "bytes_read");
	ctl_add_number(&l->table, row, "bytes_written");
}

/* Not before there is an answer: a refusal stands alone. */
static void show_begin(struct listing *l)
{
	if (l->options->json && !l->opened)
		fprintf(l->out, "{\"version\":%d,\"ok\":true,\"connections\":[", CONTROL_VERSION);
	l->opened = true;
}

/* Returns an exit code. */
static int show_page(struct listing *l, const json_t *page)
{
	const json_t *row;
	size_t i;

	show_begin(l);
	json_array_foreach (json_object_get(page, "connections"), i, row) {
		show_row(l, row);
	}
	l->truncated |= json_is_true(json_object_get(page, "truncated"));
	if (!l->options->json && ctl_table_print(&l->table, l->out) < 0) {
		fputs("usherctl: the table cannot be shown\n", stderr);
		return EX_OSERR;
	}
	ctl_table_clear(&l->table);
	return EX_OK;
}

static long long number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void show_end(struct listing *l)
{
	const json_t *row;
	size_t i;

	show_begin(l);
	if (l->options->json) {
		fputs("],\"missing\":", l->out);
		json_dumpf(l->missing, l->out, JSON_COMPACT);
		fprintf(l->out, ",\"truncated\":%s}\n", l->truncated ? "true" : "false");
		return;
	}
	json_array_foreach (l->missing, i, row) {
		fprintf(l->out,
			"worker %lld (slot %lld, pid %lld) did not answer in time; it had %lld "
			"connections\n",
			number_of(row, "worker"), number_of(row, "slot"), number_of(row, "pid"),
			number_of(row, "connections"));
	}
	if (l->truncated)
		fputs("there are more that wait for a worker\n", l->out);
}

/* --- asking --------------------------------------------------------------------------------- */

static void note_missing(struct listing *l, const json_t *worker)
{
	json_t *row = json_pack("{s:O, s:O, s:O, s:O}", "worker", json_object_get(worker, "worker"),
				"slot", json_object_get(worker, "slot"), "pid",
				json_object_get(worker, "pid"), "connections",
				json_object_get(worker, "connections"));

	json_array_append_new(l->missing, row);
}

/* worker is 0 for what no worker has. Returns an exit code. */
static int get_page(struct listing *l, json_int_t worker, json_int_t before, struct ctl_answer *ret)
{
	const char *listener = l->options->operands[0];
	json_t *request = json_pack("{s:i, s:s, s:s*, s:o*, s:o*}", "version", CONTROL_VERSION,
				    "command", "list", "listener", listener, "worker",
				    worker ? json_integer(worker) : NULL, "before",
				    before ? json_integer(before) : NULL);
	int code;

	if (!request) {
		fputs("usherctl: out of memory\n", stderr);
		return EX_OSERR;
	}
	code = l->ask(request, ret, l->ctx);
	json_decref(request);
	return code;
}

/* row is that of the worker among the counts; NULL: what no worker has. */
static int show_worker(struct listing *l, const json_t *row)
{
	json_int_t worker = json_integer_value(json_object_get(row, "worker"));
	json_int_t before = 0, last;
	struct ctl_answer page;
	int code;

	do {
		last = before;
		code = get_page(l, worker, before, &page);
		if (code != EX_OK)
			return code;
		code = show_page(l, page.whole);
		if (row && json_is_true(json_object_get(page.whole, "stale")))
			note_missing(l, row);
		before = json_integer_value(json_object_get(page.whole, "next"));
		ctl_answer_done(&page);
		/* Each page begins where the last one ended, or there would be no end. */
	} while (code == EX_OK && before > 0 && (last == 0 || before < last));
	return code;
}

static int show_workers(struct listing *l, const json_t *workers)
{
	int code = EX_OK;
	const json_t *row;
	size_t i;

	json_array_foreach (workers, i, row) {
		json_int_t worker = json_integer_value(json_object_get(row, "worker"));

		if (code != EX_OK)
			break;
		if (l->options->worker && worker != l->options->worker)
			continue;
		if (json_is_true(json_object_get(row, "stale")))
			note_missing(l, row);
		else
			code = show_worker(l, row);
	}
	/* Last, for what a worker has taken does not come back: so nothing is shown twice. */
	if (code == EX_OK && !l->options->worker)
		code = show_worker(l, NULL);
	return code;
}

static bool is_there(const json_t *workers, unsigned int worker)
{
	const json_t *row;
	size_t i;

	json_array_foreach (workers, i, row) {
		if (json_integer_value(json_object_get(row, "worker")) == worker)
			return true;
	}
	return false;
}

/* counts is the answer to "connections", which all workers are asked for at once: so those that do
 * not answer are known, and waited for once. */
static int list_by(struct listing *l, const json_t *counts)
{
	const json_t *workers = json_object_get(counts, "workers");
	int code;

	if (l->options->worker && !is_there(workers, l->options->worker)) {
		fprintf(stderr, "usherctl: there is no worker %u; \"usherctl status\" shows them\n",
			l->options->worker);
		return EX_USAGE;
	}
	code = show_workers(l, workers);
	if (code == EX_OK)
		show_end(l);
	return code;
}

int ctl_list(const struct ctl_options *options, ctl_ask_fn *ask, void *ctx, FILE *out)
{
	struct listing l = {
		.options = options, .ask = ask, .ctx = ctx, .out = out, .missing = json_array()};
	struct ctl_answer counts;
	json_t *request;
	size_t which;
	int code = EX_OSERR;

	if (!l.missing ||
	    ctl_verb_request(options->verb, options->operands, &request, &which) < 0) {
		fputs("usherctl: out of memory\n", stderr);
		json_decref(l.missing);
		return code;
	}
	ctl_table_init(&l.table, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		ctl_table_widen(&l.table, i, widths[i]);
	code = ask(request, &counts, ctx);
	if (code == EX_OK) {
		code = list_by(&l, counts.whole);
		ctl_answer_done(&counts);
	}
	ctl_table_done(&l.table);
	json_decref(l.missing);
	json_decref(request);
	return code;
}
