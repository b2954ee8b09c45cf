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
		.operand = "LISTENER",
		.field = "listener",
		.summary = "count the connections, of LISTENER or of all",
		.details = "Asks every worker, and shows the sum by listener and a row per worker.",
		.show = ctl_show_connections,
	},
	{
		.name = "scale",
		.operand = "N",
		.needs_operand = true,
		.field = "workers",
		.is_number = true,
		.summary = "have N workers from now on",
		.details =
			"Starts workers, or lets the last ones drain and end, until there are N.\n"
			"Does not wait for that. Needs the right to change something.",
		.show = ctl_show_scale,
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

static int operand_value(const struct ctl_verb *verb, const char *operand, json_t **ret)
{
	uint64_t number;
	int r;

	if (!verb->is_number) {
		*ret = json_string(operand);
		return *ret ? 0 : -EINVAL; /* most likely it is no UTF-8 */
	}

	r = number_parse(operand, CONFIG_WORKERS_MAX, &number);
	if (r == 0 && number == 0)
		r = -ERANGE;
	if (r < 0)
		return r;
	*ret = json_integer((json_int_t)number);
	return *ret ? 0 : -ENOMEM;
}

int ctl_verb_request(const struct ctl_verb *verb, const char *operand, json_t **ret)
{
	json_t *request, *value = NULL;
	int r = operand ? operand_value(verb, operand, &value) : 0;

	if (r < 0)
		return r;

	/* "o*" leaves a field out whose value is NULL, and takes over the reference. */
	request = json_pack("{s:i, s:s, s:o*}", "version", CONTROL_VERSION, "command", verb->name,
			    verb->field ? verb->field : "", value);
	if (!request)
		return -ENOMEM;
	*ret = request;
	return 0;
}
