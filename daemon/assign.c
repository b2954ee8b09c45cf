#include "daemon/assign.h"

#include <string.h>

#include "common/log.h"
#include "daemon/supervisor.h"

static int send_listener(struct child *c, const struct listener *l)
{
	const struct config_listener *config = l->config;
	char text[CONFIG_NAME_MAX + HANDLER_TEXT_MAX];
	char *end = mempcpy(text, config->name, strlen(config->name));
	struct ipc_serve message = {
		.listener = l->id,
		.handler = config->handler,
		.name_size = (uint32_t)strlen(config->name),
	};

	if (config->handler_text)
		end = mempcpy(end, config->handler_text, config->handler_text_size);
	return child_send(c, IPC_SERVE, &message, text, (size_t)(end - text), &l->bound.fd);
}

static size_t owned_by(const struct supervisor *s, const struct child *c)
{
	size_t count = 0;

	for (size_t i = 0; i < s->n_listeners; i++)
		count += s->listeners[i].owner == c;
	return count;
}

/* The ready worker that owns the fewest exclusive listeners; NULL at first, while the worker whose
 * turn it is still starts, so that the first one to be ready does not get them all. */
static struct child *choose_owner(const struct supervisor *s, const struct listener *l)
{
	unsigned int turn = l->id % s->workers + 1;
	struct child *c, *best = NULL;

	TAILQ_FOREACH (c, &s->children, link) {
		if (s->state == SUPERVISOR_STARTING && c->slot == turn &&
		    c->state == CHILD_STARTING && c->quick_deaths == 0)
			return NULL;
		if (c->state != CHILD_READY)
			continue;
		if (c->slot == turn)
			return c;
		if (!best || owned_by(s, c) < owned_by(s, best))
			best = c;
	}
	return best;
}

int assign_shared(struct supervisor *s, struct child *c)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++)
		if (!s->listeners[i].config->exclusive)
			error = send_listener(c, &s->listeners[i]);
	return error;
}

static void give(struct listener *l, struct child *c)
{
	int error = send_listener(c, l);

	if (error < 0) {
		log_error("%s cannot be sent listener \"%s\": %s; killing it", child_name(c),
			  l->config->name, strerror(-error));
		child_kill(c);
		return;
	}
	l->owner = c;
	log_info("listener \"%s\" is served by %s", l->config->name, child_name(c));
}

void assign_exclusive(struct supervisor *s)
{
	if (s->state == SUPERVISOR_STOPPING)
		return;

	for (size_t i = 0; i < s->n_listeners; i++) {
		struct listener *l = &s->listeners[i];
		struct child *c = l->config->exclusive && !l->owner ? choose_owner(s, l) : NULL;

		if (c)
			give(l, c);
	}
}

void assign_release(struct supervisor *s, const struct child *c)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].owner == c)
			s->listeners[i].owner = NULL;
	assign_exclusive(s);
}
