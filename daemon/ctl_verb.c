#include "daemon/ctl_verb.h"

#include <string.h>

#include "common/macros.h"
#include "common/number.h"
#include "daemon/config.h"
#include "daemon/control_request.h"
#include "daemon/suggest.h"

const struct ctl_verb ctl_verbs[] = {
	{
		.name = "status",
		.summary = "show usherd, its workers and its listeners",
		.details = "Shows the supervisor, a row per worker and a row per listener.",
		.show = ctl_show_status,
	},
	{
		.name = "connections",
		.operands = {{"LISTENER", "listener", CTL_TEXT, false}},
		.lists = true,
		.summary = "count the connections, of LISTENER or of all",
		.details =
			"Asks every worker, and shows the sum by listener and a row per worker.\n"
			"With --list it names each connection instead: listener, worker, peer, "
			"age\n"
			"and the bytes read from it and written to it; with --worker N those of\n"
			"worker N alone.",
		.show = ctl_show_connections,
	},
	{
		.name = "scale",
		.operands = {{"N", "workers", CTL_COUNT, true}},
		.summary = "have N workers from now on",
		.details =
			"Starts workers, or lets the last ones drain and end, until there are N.\n"
			"Does not wait for that. Needs the right to change something.",
		.show = ctl_show_scale,
	},
	{
		.name = "worker",
		.operands = {{"N", "worker", CTL_ID, true},
			     {"drain|undrain", "action", CTL_CHOICE, true}},
		.summary = "take worker N out of rotation, or put it back",
		.details =
			"drain: worker N gets no new connections, and goes on to serve those it "
			"has;\n"
			"its state is \"resting\". It stays until undrain, scale, stop or its "
			"death.\n"
			"undrain: it gets new connections again.\n"
			"N is the worker's number, the column WORKER of status, and not its slot.\n"
			"Needs the right to change something.",
		.show = ctl_show_worker,
	},
	{
		.name = "stop",
		.summary = "stop usherd gracefully",
		.details =
			"Lets the workers finish with their connections within drain_timeout, as\n"
			"SIGTERM does. Does not wait for that. Needs the right to change\n"
			"something.",
		.show = ctl_show_stop,
	},
};
const size_t ctl_verb_count = ARRAY_LEN(ctl_verbs);

const struct ctl_verb *ctl_verb_find(const char *name, const char **ret_meant)
{
	struct suggestion meant;

	suggestion_init(&meant, name);
	for (size_t i = 0; i < ctl_verb_count; i++) {
		if (strcmp(ctl_verbs[i].name, name) == 0)
			return &ctl_verbs[i];
		suggestion_offer(&meant, ctl_verbs[i].name);
	}
	*ret_meant = meant.best;
	return NULL;
}

static int number_value(const char *text, uint64_t most, json_t **ret)
{
	uint64_t number;
	int r = number_parse(text, most, &number);

	if (r == 0 && number == 0)
		r = -ERANGE;
	if (r < 0)
		return r;
	*ret = json_integer((json_int_t)number);
	return *ret ? 0 : -ENOMEM;
}

/* Whether text is one of the words of a name like "up|down". */
static bool is_choice(const char *name, const char *text)
{
	size_t length = strlen(text);

	for (const char *word = name; word; word = strchr(word, '|')) {
		word += *word == '|';
		if (strcspn(word, "|") == length && strncmp(word, text, length) == 0)
			return true;
	}
	return false;
}

static int operand_value(const struct ctl_operand *operand, const char *text, json_t **ret)
{
	if (operand->kind == CTL_COUNT)
		return number_value(text, CONFIG_WORKERS_MAX, ret);
	if (operand->kind == CTL_ID)
		return number_value(text, UINT32_MAX, ret);
	if (operand->kind == CTL_CHOICE && !is_choice(operand->name, text))
		return -EINVAL;
	*ret = json_string(text);
	return *ret ? 0 : -EINVAL; /* most likely it is no UTF-8 */
}

static int add_operands(json_t *request, const struct ctl_verb *verb, const char *const *operands,
			size_t *ret_which)
{
	for (size_t i = 0; i < CTL_OPERANDS_MAX; i++) {
		json_t *value;
		int r;

		if (!operands[i])
			continue;
		*ret_which = i;
		r = operand_value(&verb->operands[i], operands[i], &value);
		if (r < 0)
			return r;
		if (json_object_set_new(request, verb->operands[i].field, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

int ctl_verb_request(const struct ctl_verb *verb, const char *const *operands, json_t **ret,
		     size_t *ret_which)
{
	json_t *request = json_pack("{s:i, s:s}", "version", CONTROL_VERSION, "command",
				    verb->name);
	int r;

	if (!request)
		return -ENOMEM;
	r = add_operands(request, verb, operands, ret_which);
	if (r < 0) {
		json_decref(request);
		return r;
	}
	*ret = request;
	return 0;
}
