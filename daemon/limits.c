#include "daemon/limits.h"

#include <errno.h>

#include "daemon/limit.h"
#include "daemon/supervisor.h"

static bool has_limit(const struct config_listener *config)
{
	return config->max_connections > 0 || config->max_connections_per_worker > 0;
}

int limits_open(struct supervisor *s)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++) {
		struct listener *l = &s->listeners[i];

		if (has_limit(l->config))
			error = limit_new(s->loop, l, s->workers, &l->limit);
	}
	return error;
}

void limits_close(struct supervisor *s)
{
	for (size_t i = 0; i < s->n_listeners; i++) {
		limit_free(s->listeners[i].limit);
		s->listeners[i].limit = NULL;
	}
}

int limits_scale(struct supervisor *s, unsigned int workers)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++)
		if (s->listeners[i].limit)
			error = limit_scale(s->listeners[i].limit, workers);
	return error;
}

void limits_bury(struct supervisor *s, const struct child *c)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].limit)
			limit_bury(s->listeners[i].limit, c);
}

int limits_tell(struct supervisor *s, struct child *c, const struct ipc_held_row *rows,
		size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++) {
		struct limit *limit = rows[i].listener < s->n_listeners
					      ? s->listeners[rows[i].listener].limit
					      : NULL;
		int error = limit ? limit_tell(limit, c, &rows[i]) : -EPROTO;

		if (error < 0)
			return error;
		limit_update(limit);
	}
	return 0;
}

bool limits_answered(struct supervisor *s, const struct child *c)
{
	bool freed = false;

	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].limit && limit_answered(s->listeners[i].limit, c))
			freed = true;
	return freed;
}

void limits_update(struct supervisor *s)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].limit)
			limit_update(s->listeners[i].limit);
}

void limits_stop(struct supervisor *s)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].limit)
			limit_stop(s->listeners[i].limit);
}
