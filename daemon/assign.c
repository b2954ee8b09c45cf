#include "daemon/assign.h"

#include <assert.h>
#include <string.h>

#include "common/log.h"
#include "daemon/limit.h"
#include "daemon/supervisor.h"

static_assert(CONFIG_NAME_MAX <= IPC_LISTENER_NAME_MAX, "workers take no longer names");

/* The listener's name and the handler's text, as messages carry them. */
struct text {
	char bytes[CONFIG_NAME_MAX + HANDLER_TEXT_MAX];
	size_t name_size;
	size_t size;
};

static void fill(struct text *text, const struct config_listener *config)
{
	char *end = mempcpy(text->bytes, config->name, strlen(config->name));

	text->name_size = (size_t)(end - text->bytes);
	if (config->handler_text)
		end = mempcpy(end, config->handler_text, config->handler_text_size);
	text->size = (size_t)(end - text->bytes);
}

/* The worker may come to have connections of it. */
static int join(struct child *c, const struct listener *l)
{
	int error = taker_join(&c->taker, l->source.id);

	return error < 0 || !l->limit ? error : limit_join(l->limit, c);
}

static int send_handle(struct child *c, const struct listener *l, size_t index)
{
	struct text text;

	int error = join(c, l);

	if (error < 0)
		return error;
	fill(&text, l->config);
	struct ipc_serve message = {
		.listener = l->source.id,
		.handle = (uint32_t)index,
		.handler = l->config->handler,
		.name_size = (uint32_t)text.name_size,
		.metered = l->limit != NULL,
		.shared = !listener_has_owners(l),
	};
	return child_send(c, IPC_SERVE, &message, text.bytes, text.size,
			  &l->handles[index].bound.fd);
}

static int announce(struct child *c, const struct listener *l)
{
	struct text text;

	int error = join(c, l);

	if (error < 0)
		return error;
	fill(&text, l->config);
	struct ipc_adopt message = {
		.listener = l->source.id,
		.handler = l->config->handler,
		.name_size = (uint32_t)text.name_size,
		.metered = l->limit != NULL,
	};
	message.tally = taker_use_tally(&c->taker, l->source.id);
	message.tell_connections = message.tally == 0 &&
				   l->config->distribute == DISTRIBUTE_LEAST_CONNECTIONS;
	c->taker.handoff.by_message |= message.tell_connections;
	return child_send(c, IPC_ADOPT, &message, text.bytes, text.size, NULL);
}

int assign_shared(struct supervisor *s, struct child *c)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++) {
		const struct listener *l = &s->listeners[i];

		if (distribute_hands_off(l->config->distribute))
			error = announce(c, l);
		else if (!listener_has_owners(l))
			error = send_handle(c, l, 0);
	}
	return error;
}

int assign_again(struct supervisor *s, struct child *c)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++) {
		const struct listener *l = &s->listeners[i];

		if (!distribute_hands_off(l->config->distribute) && !listener_has_owners(l))
			error = send_handle(c, l, 0);
	}
	return error;
}

/* --- who is to own -------------------------------------------------------------------------- */

static size_t owned_by(const struct supervisor *s, const struct child *c)
{
	size_t count = 0;

	for (size_t i = 0; i < s->n_listeners; i++)
		for (size_t j = 0; j < s->listeners[i].n_handles; j++)
			count += s->listeners[i].handles[j].owner == c;
	return count;
}

/* The slot whose worker comes before all others. */
static unsigned int turn_of(const struct supervisor *s, const struct listener *l, size_t index)
{
	return l->config->exclusive ? l->source.id % s->workers + 1 : (unsigned int)index + 1;
}

/* The ready worker whose turn it is, else the one that owns the fewest; NULL at first, while the
 * one whose turn it is still starts, so that the first one to be ready does not get them all. */
static struct child *choose_owner(const struct supervisor *s, unsigned int turn)
{
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

/* Who shall have a socket from now on: of reuse-port a stand-in gives it back. */
static struct child *next_owner(const struct supervisor *s, const struct listener *l, size_t index)
{
	unsigned int turn = turn_of(s, l, index);
	struct child *now = l->handles[index].owner;
	struct child *chosen;

	if (now && (l->config->exclusive || now->slot == turn))
		return now;
	chosen = choose_owner(s, turn);
	return !now || (chosen && chosen->slot == turn) ? chosen : now;
}

/* --- giving and taking ---------------------------------------------------------------------- */

/* A worker that takes no message will serve nobody. */
static void check_sent(struct child *c, const struct listener *l, int error)
{
	if (error == 0)
		return;
	log_error("%s cannot be told of listener \"%s\": %s; killing it", child_name(c),
		  l->config->name, strerror(-error));
	child_kill(c);
}

static void give(struct listener *l, size_t index, struct child *c)
{
	int error = send_handle(c, l, index);

	check_sent(c, l, error);
	if (error < 0)
		return;
	l->handles[index].owner = c;
	if (l->config->exclusive)
		log_info("listener \"%s\" is served by %s", l->config->name, child_name(c));
}

static void take_back(struct listener *l, size_t index)
{
	struct child *c = l->handles[index].owner;
	struct ipc_release message = {.listener = l->source.id, .handle = (uint32_t)index};

	check_sent(c, l, child_send(c, IPC_RELEASE, &message, NULL, 0, NULL));
	l->handles[index].owner = NULL;
}

static void assign_handle(struct supervisor *s, struct listener *l, size_t index)
{
	struct child *now = l->handles[index].owner;
	struct child *next = next_owner(s, l, index);

	if (next == now)
		return;
	if (now)
		take_back(l, index);
	give(l, index, next);
}

void assign_owned(struct supervisor *s)
{
	if (s->state == SUPERVISOR_STOPPING)
		return;

	for (size_t i = 0; i < s->n_listeners; i++)
		if (listener_has_owners(&s->listeners[i]))
			for (size_t j = 0; j < s->listeners[i].n_handles; j++)
				assign_handle(s, &s->listeners[i], j);
}

void assign_release(struct supervisor *s, const struct child *c)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		for (size_t j = 0; j < s->listeners[i].n_handles; j++)
			if (s->listeners[i].handles[j].owner == c)
				s->listeners[i].handles[j].owner = NULL;
	assign_owned(s);
}
