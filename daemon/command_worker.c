#include "daemon/command_worker.h"

#include <string.h>
#include <sysexits.h>

/* Who gives a slot in place of a number is told the number. */
static void refuse_unknown(struct control_call *call, const struct supervisor *s, unsigned int id)
{
	const struct child *c;

	TAILQ_FOREACH (c, &s->children, link)
		if (c->slot == id && c->process.pid > 0 && !c->retiring) {
			control_refuse(call, EX_USAGE,
				       "there is no worker %u; in slot %u there is worker %u", id,
				       id, c->id);
			return;
		}
	control_refuse(call, EX_USAGE, "there is no worker %u; \"usherctl status\" shows them", id);
}

/* c is gone when it was killed because it could not be told. */
static void answer(struct control_call *call, const struct supervisor *s, unsigned int id)
{
	const struct child *c = supervisor_find_worker(s, id);

	if (c)
		control_answer(call, json_pack("{s:i, s:s}", "worker", id, "state",
					       child_state_name(c->state)));
	else
		control_refuse(call, EX_UNAVAILABLE, "worker %u has ended", id);
}

void command_worker(struct control_call *call, const json_t *request, struct supervisor *s)
{
	unsigned int id = (unsigned int)json_integer_value(json_object_get(request, "worker"));
	const char *action = json_string_value(json_object_get(request, "action"));
	struct child *c = supervisor_find_worker(s, id);
	int error;

	if (!c) {
		refuse_unknown(call, s, id);
		return;
	}
	error = strcmp(action, "drain") == 0 ? supervisor_rest(s, c) : supervisor_resume(s, c);
	if (error == -EAGAIN)
		control_refuse(call, EX_TEMPFAIL, "worker %u is still starting", id);
	else if (error < 0)
		control_refuse(call, EX_UNAVAILABLE, "worker %u is about to end", id);
	else
		answer(call, s, id);
}
