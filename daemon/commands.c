#include "daemon/commands.h"

#include <string.h>
#include <sysexits.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "daemon/command_list.h"
#include "daemon/command_worker.h"
#include "daemon/limit.h"
#include "daemon/made.h"
#include "daemon/utf8.h"

static double seconds_since(int64_t then_ms)
{
	return (double)(clock_ms() - then_ms) / 1000;
}

/* --- status --------------------------------------------------------------------------------- */

static json_t *supervisor_json(const struct supervisor *s)
{
	return json_pack("{s:i, s:s, s:s, s:f, s:o}", "pid", (int)getpid(), "version",
			 USHER_VERSION, "state", supervisor_state_name(s->state), "uptime_s",
			 seconds_since(s->started_ms), "config", utf8_json(s->config->files[0]));
}

static json_t *number_or_null(long long number)
{
	return number ? json_integer(number) : json_null();
}

static json_t *worker_json(const struct child *c)
{
	double age_s = c->process.pid ? seconds_since(c->process.started_ms) : 0;

	return json_pack("{s:i, s:i, s:o, s:s, s:f, s:i}", "worker", c->id, "slot", c->slot, "pid",
			 number_or_null(c->process.pid), "state", child_state_name(c->state),
			 "age_s", age_s, "restarts", c->restarts);
}

/* Of an exclusive listener. */
static unsigned int owner_of(const struct listener *l)
{
	const struct child *owner = l->config->exclusive && l->n_handles > 0 ? l->handles[0].owner
									     : NULL;

	return owner ? owner->id : 0;
}

/* null for a listener that may have any number of connections. */
static json_t *limit_json(const struct limit *limit)
{
	if (!limit)
		return json_null();
	return json_pack("{s:I, s:I, s:I}", "connections", (json_int_t)limit->ledger.limit,
			 "in_use", (json_int_t)limit_in_use(limit), "turned_away",
			 (json_int_t)limit->turned_away);
}

static json_t *listener_json(const struct listener *l)
{
	return json_pack("{s:s, s:o, s:s, s:b, s:s, s:o, s:s, s:o}", "name", l->config->name,
			 "address", utf8_json(l->address), "kind", listener_kind(l), "exclusive",
			 l->config->exclusive, "distribute", distribute_name(l->config->distribute),
			 "owner", number_or_null(owner_of(l)), "handler",
			 handler_name(l->config->handler), "limit", limit_json(l->limit));
}

static void on_status(struct control_call *call, const json_t *request, struct supervisor *s)
{
	json_t *workers = json_array(), *listeners = json_array();
	const struct child *c;

	TAILQ_FOREACH (c, &s->children, link)
		json_array_append_new(workers, worker_json(c));
	for (size_t i = 0; i < s->n_listeners; i++)
		json_array_append_new(listeners, listener_json(&s->listeners[i]));
	made_add_status(s, listeners);

	control_answer(call, json_pack("{s:o, s:o, s:o}", "supervisor", supervisor_json(s),
				       "workers", workers, "listeners", listeners));
}

/* --- connections ---------------------------------------------------------------------------- */

/* Which listeners the question is about: [first, end). */
struct connections_call {
	struct control_call *call;
	const struct supervisor *supervisor;
	size_t first;
	size_t end;
	bool has_made; /* those that workers made as well */
	char *made;    /* if so, of that name only; NULL: all of them */
};

static json_t *count_json(const struct listener *l, json_int_t connections)
{
	return json_pack("{s:s, s:I}", "name", l->config->name, "connections", connections);
}

/* Counts by listener; *ret_sum is that of all of them. */
static json_t *counts_json(const struct connections_call *cc, const uint32_t *connections,
			   json_int_t *ret_sum)
{
	json_t *listeners = json_array();

	*ret_sum = 0;
	for (size_t i = cc->first; i < cc->end; i++) {
		*ret_sum += connections[i];
		json_array_append_new(listeners,
				      count_json(&cc->supervisor->listeners[i], connections[i]));
	}
	return listeners;
}

static json_t *row_json(const struct connections_call *cc, const struct count_row *row)
{
	json_int_t sum;
	json_t *listeners = counts_json(cc, row->connections, &sum);

	if (cc->has_made)
		sum += made_add_row(cc->supervisor, cc->made, row, listeners);
	return json_pack("{s:i, s:i, s:i, s:s, s:I, s:b, s:o}", "worker", row->worker, "slot",
			 row->slot, "pid", (int)row->pid, "state", child_state_name(row->state),
			 "connections", sum, "stale", row->stale, "listeners", listeners);
}

/* The sums by listener; *ret_total is that of all of them. */
static json_t *sums_json(const struct connections_call *cc, const struct count_result *result,
			 json_int_t *ret_total)
{
	json_t *listeners = json_array();

	*ret_total = 0;
	for (size_t i = cc->first; i < cc->end; i++) {
		json_int_t sum = result->waiting[i];

		for (size_t j = 0; j < result->n_rows; j++)
			sum += result->rows[j].connections[i];
		*ret_total += sum;
		json_array_append_new(listeners, count_json(&cc->supervisor->listeners[i], sum));
	}
	if (cc->has_made)
		*ret_total += made_add_sums(cc->supervisor, cc->made, result->rows, result->n_rows,
					    listeners);
	return listeners;
}

static void on_counts(const struct count_result *result, void *ctx)
{
	AUTO_FREE struct connections_call *cc = ctx;
	AUTO_FREE char *made = cc->made;
	json_t *workers = json_array(), *listeners;
	json_int_t total, waiting;

	for (size_t i = 0; i < result->n_rows; i++)
		json_array_append_new(workers, row_json(cc, &result->rows[i]));
	listeners = sums_json(cc, result, &total);
	json_t *by_listener = counts_json(cc, result->waiting, &waiting);
	control_answer(cc->call, json_pack("{s:I, s:o, s:o, s:{s:I, s:o}}", "connections", total,
					   "listeners", listeners, "workers", workers, "waiting",
					   "connections", waiting, "listeners", by_listener));
}

/* Finds the listeners that a request is about: *ret_end - *ret_first of them, one if it names one.
 * Returns whether there is such a listener, and refuses if not. */
static bool select_listeners(struct control_call *call, const json_t *request,
			     const struct supervisor *s, size_t *ret_first, size_t *ret_end)
{
	const char *name = json_string_value(json_object_get(request, "listener"));
	size_t i = 0;

	while (name && i < s->n_listeners && strcmp(s->listeners[i].config->name, name) != 0)
		i++;
	if (name && i == s->n_listeners) {
		control_refuse(call, EX_USAGE, "there is no listener \"%s\"", name);
		return false;
	}
	*ret_first = i;
	*ret_end = name ? i + 1 : s->n_listeners;
	return true;
}

static void on_connections(struct control_call *call, const json_t *request, struct supervisor *s)
{
	const char *name = json_string_value(json_object_get(request, "listener"));
	struct connections_call wanted = {.call = call, .supervisor = s, .has_made = !name};
	struct connections_call *cc;
	int error = -ENOMEM;

	if (name && made_exists(s, name)) {
		wanted.made = strdup(name);
		wanted.has_made = true;
	} else if (!select_listeners(call, request, s, &wanted.first, &wanted.end)) {
		return;
	}
	cc = wanted.has_made && name && !wanted.made ? NULL : malloc(sizeof(*cc));
	if (cc) {
		*cc = wanted;
		dispatch_look(&s->dispatcher);
		error = count_start(&s->counter, on_counts, cc);
	}
	if (error < 0) {
		control_refuse(call, EX_OSERR, "%s", strerror(-error));
		free(wanted.made);
		free(cc);
	}
}

static void on_list(struct control_call *call, const json_t *request, struct supervisor *s)
{
	const char *name = json_string_value(json_object_get(request, "listener"));
	size_t first, end;

	if (name && made_exists(s, name))
		command_list(call, request, IPC_LISTENERS_ALL, name, s);
	else if (select_listeners(call, request, s, &first, &end))
		command_list(call, request,
			     name ? s->listeners[first].source.id : IPC_LISTENERS_ALL, NULL, s);
}

/* --- stop, scale ---------------------------------------------------------------------------- */

/* Who asks again has perhaps not got the answer: that does no harm, unlike a second signal. */
static void on_stop(struct control_call *call, const json_t *request, struct supervisor *s)
{
	if (s->state != SUPERVISOR_STOPPING)
		supervisor_stop(s);
	control_answer(call, json_pack("{s:s}", "state", supervisor_state_name(s->state)));
}

static void refuse_scale(struct control_call *call, int error)
{
	if (error == -ESHUTDOWN)
		control_refuse(call, EX_UNAVAILABLE, "usherd is stopping");
	else
		control_refuse(call, EX_OSERR, "%s", strerror(-error));
}

static void on_scale(struct control_call *call, const json_t *request, struct supervisor *s)
{
	json_int_t workers = json_integer_value(json_object_get(request, "workers"));

	if (workers < 1 || workers > CONFIG_WORKERS_MAX) {
		control_refuse(call, EX_USAGE, "workers must be 1 to %d", CONFIG_WORKERS_MAX);
		return;
	}
	int error = supervisor_scale(s, (unsigned int)workers);
	if (error < 0)
		refuse_scale(call, error);
	else
		control_answer(call, json_pack("{s:I}", "workers", workers));
}

/* --- dispatch ------------------------------------------------------------------------------- */

static void on_worker(struct control_call *call, const json_t *request, struct supervisor *s)
{
	command_worker(call, request, s);
}

static const struct {
	const char *name;
	void (*handle)(struct control_call *call, const json_t *request, struct supervisor *s);
	bool changes;
} commands[] = {
	{"status", on_status, false}, {"connections", on_connections, false},
	{"list", on_list, false},     {"stop", on_stop, true},
	{"scale", on_scale, true},    {"worker", on_worker, true},
};

void commands_handle(struct control_call *call, const char *command, const json_t *request,
		     void *ctx)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, command) != 0)
			continue;
		if (commands[i].changes && !control_may_change(call))
			control_refuse(call, EX_NOPERM, "you may look, but not change anything");
		else
			commands[i].handle(call, request, ctx);
		return;
	}
	control_refuse(call, EX_USAGE, "there is no command \"%s\"", command);
}
