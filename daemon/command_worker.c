#include "daemon/command_worker.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "common/macros.h"

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

static void answer(struct control_call *call, const struct child *c)
{
	control_answer(call, json_pack("{s:i, s:s}", "worker", c->id, "state",
				       child_state_name(c->state)));
}

struct rest_call {
	struct rest_wait wait;
	struct control_call *call;
};

static void on_rest_over(struct rest_wait *wait, const struct child *c)
{
	AUTO_FREE struct rest_call *rc = CONTAINER_OF(wait, struct rest_call, wait);

	if (c)
		answer(rc->call, c);
	else
		control_refuse(rc->call, EX_UNAVAILABLE, "usherd is going");
}

/* The answer comes when the worker gets nothing new any more. */
static int drain(struct control_call *call, struct supervisor *s, struct child *c)
{
	struct rest_call *rc = malloc(sizeof(*rc));
	int error = rc ? supervisor_rest(s, c) : -ENOMEM;

	if (error < 0) {
		free(rc);
		return error;
	}
	*rc = (struct rest_call){.wait.over = on_rest_over, .call = call};
	if (!supervisor_await_rest(s, c, &rc->wait))
		on_rest_over(&rc->wait, c);
	return 0;
}

static int undrain(struct control_call *call, struct supervisor *s, struct child *c)
{
	int error = supervisor_resume(s, c);

	if (error == 0)
		answer(call, c);
	return error;
}

static void refuse(struct control_call *call, unsigned int id, int error)
{
	if (error == -EAGAIN)
		control_refuse(call, EX_TEMPFAIL, "worker %u is still starting", id);
	else if (error == -ESHUTDOWN)
		control_refuse(call, EX_UNAVAILABLE, "worker %u is about to end", id);
	else
		control_refuse(call, EX_OSERR, "%s", strerror(-error));
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
	error = strcmp(action, "drain") == 0 ? drain(call, s, c) : undrain(call, s, c);
	if (error < 0)
		refuse(call, id, error);
}
