#include "daemon/supervisor.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/allow.h"
#include "daemon/assign.h"
#include "daemon/backoff.h"
#include "daemon/lifecycle.h"
#include "daemon/lifecycle_input.h"
#include "daemon/limits.h"
#include "daemon/supervisor_dispatch.h"

/* All listeners together wait so long for addresses that are in use. */
#define LISTEN_PATIENCE_MS 2000

/* --- the workers as a whole ----------------------------------------------------------------- */

unsigned int supervisor_count_in(const struct supervisor *s, enum child_state state)
{
	const struct child *c;
	unsigned int count = 0;

	TAILQ_FOREACH (c, &s->children, link)
		count += c->state == state;
	return count;
}

static bool slot_is_taken(const struct supervisor *s, unsigned int slot)
{
	const struct child *c;

	TAILQ_FOREACH (c, &s->children, link)
		if (c->slot == slot && !c->retiring)
			return true;
	return false;
}

void supervisor_start_worker(struct supervisor *s, struct child *c)
{
	holder_init(&c->holder, &s->shares, &c->process.channel, &c->taker);
	c->listen_lines = 0;
	int error = child_spawn(c, ++s->last_worker, &s->program);

	if (error == 0) {
		child_set_state(c, CHILD_STARTING);
		c->greeted = false;
		c->rests = 0;
		child_set_deadline(c, s->config->start_timeout_ms);
		return;
	}
	c->quick_deaths++;
	unsigned int delay_ms = backoff_ms(c->quick_deaths + 1);
	log_error("slot %u: cannot start a worker: %s; next try in %u ms", c->slot,
		  strerror(-error), delay_ms);
	child_set_state(c, CHILD_BACKING_OFF);
	child_set_deadline(c, delay_ms);
}

/* NULL without memory, which is logged. */
static struct child *add_child(struct supervisor *s, unsigned int slot)
{
	struct child *c;
	int error = child_new(s->loop, slot, &lifecycle_input, s, &c);

	if (error < 0) {
		log_error("slot %u: no worker: %s", slot, strerror(-error));
		return NULL;
	}
	TAILQ_INSERT_TAIL(&s->children, c, link);
	dispatch_add_taker(&s->dispatcher, &c->taker);
	return c;
}

static void add_worker(struct supervisor *s)
{
	unsigned int slot = 1;
	struct child *c;

	while (slot_is_taken(s, slot))
		slot++;
	c = add_child(s, slot);
	if (c)
		supervisor_start_worker(s, c);
}

void supervisor_replace_worker(struct supervisor *s, struct child *c)
{
	struct child *successor = add_child(s, c->slot);

	if (!successor)
		return;
	c->retiring = true;
	successor->restarts = c->restarts + 1;
	supervisor_start_worker(s, successor);
}

/* --- what people tell ----------------------------------------------------------------------- */

/* lifecycle_handle() may free the child, so the next one is looked up first. */
static void handle_all(struct supervisor *s, enum lifecycle_event event)
{
	struct child *c, *next;

	for (c = TAILQ_FIRST(&s->children); c; c = next) {
		next = TAILQ_NEXT(c, link);
		lifecycle_handle(s, c, event);
	}
}

/* The workers empty the queues through their own handles, and nobody can join them. */
static void drain_workers(void *ctx)
{
	struct supervisor *s = ctx;

	nudge_stop(&s->nudge);
	limits_stop(s);
	for (size_t i = 0; i < s->n_listeners; i++)
		listener_close(&s->listeners[i]);
	if (TAILQ_EMPTY(&s->children))
		ev_break(s->loop, EVBREAK_ALL);
	handle_all(s, EVENT_RETIRE);
}

void supervisor_stop(struct supervisor *s)
{
	if (s->state == SUPERVISOR_STOPPING) {
		log_warning("stopping at once");
		handle_all(s, EVENT_KILL);
		return;
	}

	/* Somebody must take what waits in the queues, or closing them would reset it. */
	if (supervisor_count_in(s, CHILD_READY) == 0)
		handle_all(s, EVENT_RESUME);
	log_info("stopping: workers have %u ms to finish their connections",
		 s->config->drain_timeout_ms);
	supervisor_state_stopping(s);

	if (dispatch_stop(&s->dispatcher, drain_workers, s))
		drain_workers(s);
}

struct child *supervisor_find_worker(const struct supervisor *s, unsigned int id)
{
	struct child *c;

	TAILQ_FOREACH (c, &s->children, link)
		if (c->id == id && c->process.pid > 0)
			return c;
	return NULL;
}

/* Whether it can be told to rest and to serve again. */
static int check_serves(const struct supervisor *s, const struct child *c)
{
	if (c->state == CHILD_STARTING)
		return -EAGAIN;
	if (s->state == SUPERVISOR_STOPPING ||
	    (c->state != CHILD_READY && c->state != CHILD_RESTING))
		return -ESHUTDOWN;
	return 0;
}

int supervisor_rest(struct supervisor *s, struct child *c)
{
	int error = check_serves(s, c);

	if (error == 0)
		lifecycle_handle(s, c, EVENT_REST);
	return error;
}

int supervisor_resume(struct supervisor *s, struct child *c)
{
	int error = check_serves(s, c);

	if (error == 0)
		lifecycle_handle(s, c, EVENT_RESUME);
	return error;
}

bool supervisor_await_rest(struct supervisor *s, const struct child *c, struct rest_wait *wait)
{
	if (c->state != CHILD_RESTING || c->let_go)
		return false;
	wait->worker = c->id;
	LIST_INSERT_HEAD(&s->rest_waits, wait, link);
	return true;
}

void supervisor_rest_is_over(struct supervisor *s, const struct child *c)
{
	struct rest_wait *wait, *next;

	for (wait = LIST_FIRST(&s->rest_waits); wait; wait = next) {
		next = LIST_NEXT(wait, link);
		if (wait->worker != c->id)
			continue;
		LIST_REMOVE(wait, link);
		wait->over(wait, c);
	}
}

static void end_rest_waits(struct supervisor *s)
{
	struct rest_wait *wait;

	while ((wait = LIST_FIRST(&s->rest_waits))) {
		LIST_REMOVE(wait, link);
		wait->over(wait, NULL);
	}
}

static struct child *highest_slot(const struct supervisor *s)
{
	struct child *c, *highest = NULL;

	TAILQ_FOREACH (c, &s->children, link)
		if (!c->retiring && (!highest || c->slot > highest->slot))
			highest = c;
	return highest;
}

static unsigned int count_slots(const struct supervisor *s)
{
	const struct child *c;
	unsigned int count = 0;

	TAILQ_FOREACH (c, &s->children, link)
		count += !c->retiring;
	return count;
}

static int grow_listeners(struct supervisor *s, unsigned int workers)
{
	int error = 0;

	for (size_t i = 0; error == 0 && i < s->n_listeners; i++)
		error = listener_grow(&s->listeners[i], workers);
	if (error == 0)
		error = limits_scale(s, workers);
	if (error < 0)
		limits_scale(s, s->workers);
	/* Clients come to a new socket at once. */
	assign_owned(s);
	limits_update(s);
	return error;
}

int supervisor_scale(struct supervisor *s, unsigned int workers)
{
	int error;

	if (workers < 1 || workers > CONFIG_WORKERS_MAX)
		return -ERANGE;
	if (s->state == SUPERVISOR_STOPPING)
		return -ESHUTDOWN;
	error = grow_listeners(s, workers);
	if (error < 0)
		return error;

	log_info("scaling from %u to %u workers", s->workers, workers);
	s->workers = workers;
	for (unsigned int count = count_slots(s); count < workers; count++)
		add_worker(s);
	for (unsigned int count = count_slots(s); count > workers; count--) {
		struct child *c = highest_slot(s);

		c->retiring = true;
		lifecycle_handle(s, c, EVENT_RETIRE);
	}
	limits_update(s);
	supervisor_tell_state(s);
	return 0;
}

/* --- from start to end ---------------------------------------------------------------------- */

/* Those that are passed, or those that are not. Returns the first error. */
static int open_some(struct supervisor *s, bool passed, unsigned int *patience_ms)
{
	int first_error = 0;

	for (size_t i = 0; i < s->n_listeners; i++) {
		const struct config_listener *config = &s->config->listeners[i];
		int error;

		if (listener_is_passed(config) != passed)
			continue;
		error = listener_open(config, (uint32_t)i, s->workers, patience_ms,
				      &s->listeners[i]);
		if (first_error == 0)
			first_error = error;
	}
	return first_error;
}

static int open_listeners(struct supervisor *s)
{
	unsigned int patience_ms = LISTEN_PATIENCE_MS;
	int passed_error, own_error;

	s->n_listeners = s->config->n_listeners;
	passed_error = open_some(s, true, &patience_ms);
	own_error = open_some(s, false, &patience_ms);
	return passed_error < 0 ? passed_error : own_error;
}

static int find_rights(struct supervisor *s)
{
	const struct program *p = &s->program;
	int error = p->has_uid ? rights_of_user(p->user, p->uid, p->gid, &s->rights) : 0;

	if (error < 0)
		log_error("the groups of \"%s\" cannot be found: %s", p->user, strerror(-error));
	return error;
}

int supervisor_init(struct supervisor *s, struct ev_loop *loop, const struct config *config,
		    const struct program *program, unsigned int workers)
{
	*s = (struct supervisor){
		.loop = loop,
		.config = config,
		.program = *program,
		.started_ms = clock_ms(),
		.workers = workers,
	};
	TAILQ_INIT(&s->children);
	LIST_INIT(&s->rest_waits);
	dispatch_init(&s->dispatcher, loop, &supervisor_dispatch, s);
	shares_init(&s->shares, loop, &s->rights, &allow_ops, s);
	counter_init(&s->counter, loop, &s->children, &s->dispatcher, config->n_listeners);
	lister_init(&s->lister, loop, config->n_listeners);
	supervisor_state_init(s);

	s->listeners = calloc(config->n_listeners, sizeof(*s->listeners));
	int error = s->listeners ? open_listeners(s) : -ENOMEM;
	if (error == 0)
		error = limits_open(s);
	for (size_t i = 0; error == 0 && i < s->n_listeners; i++)
		if (s->listeners[i].source.policy != POLICY_NONE)
			dispatch_add_source(&s->dispatcher, &s->listeners[i].source);
	if (error == 0)
		error = find_rights(s);
	if (error < 0)
		return error;
	return nudge_start(&s->nudge, loop, &s->children, s->listeners, s->n_listeners, &s->shares);
}

void supervisor_start(struct supervisor *s)
{
	supervisor_state_start(s);
	for (unsigned int i = 0; i < s->workers; i++)
		add_worker(s);
}

void supervisor_done(struct supervisor *s)
{
	struct child *c;

	supervisor_state_done(s);
	end_rest_waits(s);
	counter_done(&s->counter);
	lister_done(&s->lister);
	nudge_stop(&s->nudge);
	limits_stop(s);
	dispatch_done(&s->dispatcher);
	shares_done(&s->shares);
	rights_done(&s->rights);
	while ((c = TAILQ_FIRST(&s->children))) {
		TAILQ_REMOVE(&s->children, c, link);
		child_free(c);
	}
	limits_close(s);
	for (size_t i = 0; i < s->n_listeners; i++)
		listener_close(&s->listeners[i]);
	free(s->listeners);
}
