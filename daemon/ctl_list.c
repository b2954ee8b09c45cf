#include "daemon/ctl_list.h"

#include <string.h>
#include <sysexits.h>

#include "common/macros.h"
#include "daemon/control_request.h"
#include "daemon/ctl_table.h"
#include "daemon/ctl_value.h"

#define NO_MEMORY "out of memory"

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

/* --- JSON ----------------------------------------------------------------------------------- */

/* Writes before and value, or without memory neither. */
static int put_json(const struct listing *l, const char *before, const json_t *value)
{
	AUTO_FREE char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (!text)
		return -ENOMEM;
	fprintf(l->out, "%s%s", before, text);
	return 0;
}

/* A reason may quote a path that is no UTF-8. */
static void put_error(const struct listing *l, int code, const char *reason)
{
	json_t *error = json_pack("{s:i, s:s}", "exit", code, "message", reason);

	if (!error || put_json(l, ",\"ok\":false,\"error\":", error) < 0)
		fprintf(l->out,
			",\"ok\":false,\"error\":{\"exit\":%d,\"message\":"
			"\"the reason cannot be put into JSON; it is on standard error\"}",
			code);
	json_decref(error);
}

/* Only at the end it is known whether the answer is whole, so "ok" stands there. reason is NULL if
 * it is. Returns the exit code. */
static int end_json(const struct listing *l, int code, const char *reason)
{
	if (put_json(l, "],\"missing\":", l->missing) < 0) {
		fputc(']', l->out);
		if (!reason) {
			fputs("usherctl: " NO_MEMORY "\n", stderr);
			code = EX_OSERR;
			reason = NO_MEMORY;
		}
	}
	if (reason)
		put_error(l, code, reason);
	else
		fprintf(l->out, ",\"truncated\":%s,\"ok\":true", l->truncated ? "true" : "false");
	fputs("}\n", l->out);
	return code;
}

/* --- failing -------------------------------------------------------------------------------- */

/* The person at the terminal knows why. What was shown cannot be taken back, so it is ended with
 * the reason; before that a refusal stands alone, as usherd has given it. */
static int give_up(const struct listing *l, const struct ctl_answer *answer)
{
	if (l->options->json && l->opened)
		return end_json(l, answer->exit_code, answer->message);
	if (l->options->json && put_json(l, "", answer->whole) == 0)
		fputc('\n', l->out);
	return answer->exit_code;
}

static int fail(const struct listing *l, const char *reason)
{
	const struct ctl_answer none = {.exit_code = EX_OSERR, .message = reason};

	fprintf(stderr, "usherctl: %s\n", reason);
	return give_up(l, &none);
}

/* --- showing -------------------------------------------------------------------------------- */

static int show_row(struct listing *l, const json_t *row)
{
	char duration[CTL_DURATION_SIZE];

	if (l->options->json) {
		int r = put_json(l, l->began ? "," : "", row);

		l->began = true;
		return r;
	}
	ctl_add_text(&l->table, row, "listener");
	ctl_add_number(&l->table, row, "worker");
	ctl_add_number(&l->table, row, "slot");
	ctl_add_number(&l->table, row, "pid");
	ctl_add_text(&l->table, row, "peer");
	ctl_table_add(&l->table, "%s", ctl_duration_of(row, "age_s", duration));
	ctl_add_number(&l->table, row, "bytes_read");
	ctl_add_number(&l->table, row, "bytes_written");
	return 0;
}

/* Not before there is an answer: a refusal stands alone. */
static void show_begin(struct listing *l)
{
	if (l->options->json && !l->opened)
		fprintf(l->out, "{\"version\":%d,\"connections\":[", CONTROL_VERSION);
	l->opened = true;
}

/* Returns an exit code. */
static int show_page(struct listing *l, const json_t *page)
{
	const json_t *row;
	size_t i;

	show_begin(l);
	json_array_foreach (json_object_get(page, "connections"), i, row) {
		if (show_row(l, row) < 0)
			return fail(l, NO_MEMORY);
	}
	l->truncated |= json_is_true(json_object_get(page, "truncated"));
	if (!l->options->json && ctl_table_print(&l->table, l->out) < 0)
		return fail(l, "the table cannot be shown");
	ctl_table_clear(&l->table);
	return EX_OK;
}

static long long number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

/* Returns an exit code. */
static int show_end(struct listing *l)
{
	const json_t *row;
	size_t i;

	show_begin(l);
	if (l->options->json)
		return end_json(l, EX_OK, NULL);
	json_array_foreach (l->missing, i, row) {
		fprintf(l->out,
			"worker %lld (slot %lld, pid %lld) did not answer in time; it had %lld "
			"connections\n",
			number_of(row, "worker"), number_of(row, "slot"), number_of(row, "pid"),
			number_of(row, "connections"));
	}
	if (l->truncated)
		fputs("there are more that wait for a worker\n", l->out);
	return EX_OK;
}

/* --- asking --------------------------------------------------------------------------------- */

/* Returns an exit code, as the following do. */
static int get(struct listing *l, const json_t *request, struct ctl_answer *ret)
{
	int code = l->ask(request, ret, l->ctx);

	if (code != EX_OK) {
		code = give_up(l, ret);
		ctl_answer_done(ret);
	}
	return code;
}

static int note_missing(struct listing *l, const json_t *worker)
{
	json_t *row = json_pack(
		"{s:O*, s:O*, s:O*, s:O*}", "worker", json_object_get(worker, "worker"), "slot",
		json_object_get(worker, "slot"), "pid", json_object_get(worker, "pid"),
		"connections", json_object_get(worker, "connections"));

	return json_array_append_new(l->missing, row) < 0 ? fail(l, NO_MEMORY) : EX_OK;
}

/* worker is 0 for what no worker has. */
static int get_page(struct listing *l, json_int_t worker, json_int_t before, struct ctl_answer *ret)
{
	const char *listener = l->options->operands[0];
	json_t *request = json_pack("{s:i, s:s, s:s*, s:o*, s:o*}", "version", CONTROL_VERSION,
				    "command", "list", "listener", listener, "worker",
				    worker ? json_integer(worker) : NULL, "before",
				    before ? json_integer(before) : NULL);
	int code;

	if (!request)
		return fail(l, NO_MEMORY);
	code = get(l, request, ret);
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
		if (code == EX_OK && row && json_is_true(json_object_get(page.whole, "stale")))
			code = note_missing(l, row);
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
			code = note_missing(l, row);
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
	return code == EX_OK ? show_end(l) : code;
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
		fputs("usherctl: " NO_MEMORY "\n", stderr);
		json_decref(l.missing);
		return code;
	}
	ctl_table_init(&l.table, columns, ARRAY_LEN(columns));
	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		ctl_table_widen(&l.table, i, widths[i]);
	code = get(&l, request, &counts);
	if (code == EX_OK) {
		code = list_by(&l, counts.whole);
		ctl_answer_done(&counts);
	}
	ctl_table_done(&l.table);
	json_decref(l.missing);
	json_decref(request);
	return code;
}
