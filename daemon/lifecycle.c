#include "daemon/lifecycle.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "daemon/assign.h"
#include "daemon/backoff.h"
#include "daemon/limits.h"
#include "daemon/supervisor.h"

/* From the loss of the channel to the end of the process. */
#define EXIT_TIMEOUT_MS 1000

/* For a worker to stop accepting; then others take its sockets over, whatever it does. */
#define REST_TIMEOUT_MS 1000

/* How long workers outlive a supervisor that did not stop them. */
#define ORPHAN_TIMEOUT_MS 5000

typedef enum child_state transition_fn(struct supervisor *s, struct child *c);

static enum child_state kill_it(struct supervisor *s, struct child *c)
{
	child_kill(c);
	child_set_deadline(c, 0);
	return CHILD_STOPPING;
}

/* What breaks the rules is not listened to any more. */
static enum child_state cut_off(struct supervisor *s, struct child *c)
{
	channel_close(&c->process.channel);
	return kill_it(s, c);
}

static enum child_state out_of_order(struct supervisor *s, struct child *c)
{
	log_error("%s sent a message out of order while %s; killing it", child_name(c),
		  child_state_name(c->state));
	return cut_off(s, c);
}

/* The memory in which it is to take connections. */
static int send_claims(struct child *c)
{
	AUTO_CLOSE int fd = -1;
	int error = handoff_open(&c->taker.handoff, &fd);

	return error < 0 ? error : child_send(c, IPC_CLAIMS, NULL, NULL, 0, &fd);
}

static enum child_state greet(struct supervisor *s, struct child *c)
{
	struct ipc_welcome welcome = {
		.worker = c->id,
		.drain_timeout_ms = s->config->drain_timeout_ms,
		.orphan_timeout_ms = ORPHAN_TIMEOUT_MS,
	};
	int error;

	if (c->greeted)
		return out_of_order(s, c);
	c->greeted = true;

	error = child_send(c, IPC_WELCOME, &welcome, NULL, 0, NULL);
	if (error == 0)
		error = send_claims(c);
	if (error == 0)
		error = assign_shared(s, c);
	if (error == 0)
		error = child_send(c, IPC_START, NULL, NULL, 0, NULL);
	if (error == 0)
		return CHILD_STARTING;

	log_error("%s: its listeners cannot be sent: %s; killing it", child_name(c),
		  strerror(-error));
	return kill_it(s, c);
}

static enum child_state become_ready(struct supervisor *s, struct child *c)
{
	if (!c->greeted)
		return out_of_order(s, c);
	child_set_deadline(c, 0);
	log_info("%s is ready", child_name(c));
	return CHILD_READY;
}

static enum child_state too_late(struct supervisor *s, struct child *c)
{
	log_error("%s is %s past its deadline; killing it", child_name(c),
		  child_state_name(c->state));
	return kill_it(s, c);
}

/* A process that dies loses its channel a moment before its end is known. */
static enum child_state await_exit(struct supervisor *s, struct child *c)
{
	child_set_deadline(c, EXIT_TIMEOUT_MS);
	return CHILD_STOPPING;
}

static enum child_state drain(struct supervisor *s, struct child *c)
{
	struct ipc_drain message = {
		.timeout_ms = s->config->drain_timeout_ms,
		.empty_queue = s->state == SUPERVISOR_STOPPING,
	};
	int error = child_send(c, IPC_DRAIN, &message, NULL, 0, NULL);

	c->retiring = true;
	if (error < 0) {
		log_error("%s cannot be told to drain: %s; killing it", child_name(c),
			  strerror(-error));
		return kill_it(s, c);
	}
	child_set_deadline(c, s->config->drain_timeout_ms + s->config->stop_timeout_ms);
	return CHILD_DRAINING;
}

static enum child_state stopped_accepting(struct supervisor *s, struct child *c)
{
	child_set_state(c, CHILD_DRAINING); /* it gets nothing of its own back */
	assign_release(s, c);
	nudge_others(&s->nudge);
	return CHILD_DRAINING;
}

/* --- out of rotation and back --------------------------------------------------------------- */

/* Its own sockets stay its own until it says that it accepts on them no more. */
static enum child_state rest(struct supervisor *s, struct child *c)
{
	int error = child_send(c, IPC_REST, NULL, NULL, 0, NULL);

	if (error < 0) {
		log_error("%s cannot be told to rest: %s; killing it", child_name(c),
			  strerror(-error));
		return kill_it(s, c);
	}
	c->rests++;
	c->let_go = false;
	child_set_deadline(c, REST_TIMEOUT_MS);
	log_info("%s rests: it gets no new connections", child_name(c));
	return CHILD_RESTING;
}

static enum child_state has_let_go(struct supervisor *s, struct child *c)
{
	child_set_deadline(c, 0);
	c->let_go = true;
	assign_release(s, c);
	nudge_others(&s->nudge);
	return CHILD_RESTING;
}

static enum child_state does_not_let_go(struct supervisor *s, struct child *c)
{
	log_warning("%s does not say that it has stopped accepting; others take over all the same",
		    child_name(c));
	return has_let_go(s, c);
}

static enum child_state resume(struct supervisor *s, struct child *c)
{
	int error;

	has_let_go(s, c);
	error = child_send(c, IPC_RESUME, NULL, NULL, 0, NULL);
	if (error == 0)
		error = assign_again(s, c);
	if (error < 0) {
		log_error("%s cannot be told to serve again: %s; killing it", child_name(c),
			  strerror(-error));
		return kill_it(s, c);
	}
	log_info("%s serves again", child_name(c));
	return CHILD_READY;
}

/* --- the end -------------------------------------------------------------------------------- */

static bool died_quickly(const struct child *c)
{
	return clock_ms() - c->process.started_ms < BACKOFF_QUICK_MS;
}

/* It was told to end by somebody else: its successor need not wait for its last connection, unless
 * it has only just started and may be ending for a fault of its own. */
static enum child_state drains_by_itself(struct supervisor *s, struct child *c)
{
	log_info("%s drains, which it was not told to do here", child_name(c));
	child_set_deadline(c, s->config->drain_timeout_ms + s->config->stop_timeout_ms);
	if (s->state != SUPERVISOR_STOPPING && !died_quickly(c))
		supervisor_replace_worker(s, c);
	return stopped_accepting(s, c);
}

/* It is not heard of any more, and what it has taken ends with it. */
static void expect_no_word(struct supervisor *s, struct child *c)
{
	dispatch_look(&s->dispatcher);
	count_forget(&s->counter, c);
	list_forget(&s->lister, c);
	shares_end(&c->holder);
}

/* Nothing is left of it but its slot; what was on its way to it goes to others. Who waits for it
 * knows it by its number, which the next process in the slot does not have. */
static void forget_process(struct supervisor *s, struct child *c)
{
	child_set_state(c, CHILD_DEAD);
	expect_no_word(s, c);
	supervisor_rest_is_over(s, c);
	c->process.pid = 0;
	dispatch_bury(&s->dispatcher, &c->taker);
	limits_bury(s, c);
	nudge_others(&s->nudge);
}

static enum child_state leave_slot(struct supervisor *s, struct child *c)
{
	log_info("%s %s", child_name(c), child_end(c));
	forget_process(s, c);
	return CHILD_DEAD;
}

/* After the end of the process: does the slot get another one, and when? */
static enum child_state bury(struct supervisor *s, struct child *c)
{
	unsigned int delay_ms;

	if (c->retiring || s->state == SUPERVISOR_STOPPING)
		return leave_slot(s, c);

	c->restarts++;
	c->quick_deaths = died_quickly(c) ? c->quick_deaths + 1 : 0;
	delay_ms = backoff_ms(c->quick_deaths);
	if (delay_ms == 0)
		log_warning("%s %s; another starts now", child_name(c), child_end(c));
	else
		log_warning("%s %s, the %u. quick death in a row; next start in %u ms",
			    child_name(c), child_end(c), c->quick_deaths, delay_ms);

	forget_process(s, c);
	if (delay_ms == 0) {
		supervisor_start_worker(s, c);
		return c->state;
	}
	child_set_deadline(c, delay_ms);
	return CHILD_BACKING_OFF;
}

static enum child_state start_again(struct supervisor *s, struct child *c)
{
	supervisor_start_worker(s, c);
	return c->state;
}

static enum child_state give_up(struct supervisor *s, struct child *c)
{
	return CHILD_DEAD;
}

/* An empty field: nothing happens. */
static transition_fn *const transitions[CHILD_STATES][EVENTS] = {
	[CHILD_STARTING] =
		{
			[EVENT_HELLO] = greet,
			[EVENT_READY] = become_ready,
			[EVENT_DRAINING] = drains_by_itself,
			[EVENT_CLOSED] = await_exit,
			[EVENT_BROKE] = cut_off,
			[EVENT_EXITED] = bury,
			[EVENT_DEADLINE] = too_late,
			[EVENT_RETIRE] = drain,
			[EVENT_KILL] = kill_it,
		},
	[CHILD_READY] =
		{
			[EVENT_HELLO] = out_of_order,
			[EVENT_READY] = out_of_order,
			[EVENT_DRAINING] = drains_by_itself,
			[EVENT_CLOSED] = await_exit,
			[EVENT_BROKE] = cut_off,
			[EVENT_EXITED] = bury,
			[EVENT_REST] = rest,
			[EVENT_RETIRE] = drain,
			[EVENT_KILL] = kill_it,
		},
	[CHILD_RESTING] =
		{
			[EVENT_HELLO] = out_of_order,
			[EVENT_READY] = out_of_order,
			[EVENT_DRAINING] = drains_by_itself,
			[EVENT_RESTING] = has_let_go,
			[EVENT_CLOSED] = await_exit,
			[EVENT_BROKE] = cut_off,
			[EVENT_EXITED] = bury,
			[EVENT_DEADLINE] = does_not_let_go,
			[EVENT_RESUME] = resume,
			[EVENT_RETIRE] = drain,
			[EVENT_KILL] = kill_it,
		},
	[CHILD_DRAINING] =
		{
			/* HELLO and READY may have been on their way when it was told to drain. */
			[EVENT_DRAINING] = stopped_accepting,
			[EVENT_CLOSED] = await_exit,
			[EVENT_BROKE] = cut_off,
			[EVENT_EXITED] = bury,
			[EVENT_DEADLINE] = too_late,
			[EVENT_KILL] = kill_it,
		},
	[CHILD_STOPPING] =
		{
			[EVENT_EXITED] = bury,
			[EVENT_DEADLINE] = too_late,
			[EVENT_KILL] = kill_it,
		},
	[CHILD_BACKING_OFF] =
		{
			[EVENT_DEADLINE] = start_again,
			[EVENT_RETIRE] = give_up,
			[EVENT_KILL] = give_up,
		},
};

void lifecycle_handle(struct supervisor *s, struct child *c, enum lifecycle_event event)
{
	transition_fn *transition = transitions[c->state][event];
	enum child_state before = c->state;

	if (!transition)
		return;
	child_set_state(c, transition(s, c));

	if (c->state != CHILD_READY && c->state != CHILD_RESTING && c->state != CHILD_DRAINING)
		assign_release(s, c);
	if (c->state == CHILD_DRAINING)
		shares_disconnect(&c->holder);
	if (c->state == CHILD_STOPPING)
		expect_no_word(s, c);
	if (c->state != CHILD_RESTING || c->let_go)
		supervisor_rest_is_over(s, c);
	if (c->state == CHILD_DEAD) {
		dispatch_remove_taker(&s->dispatcher, &c->taker);
		TAILQ_REMOVE(&s->children, c, link);
		child_free(c);
	} else if (c->state == CHILD_READY && before != CHILD_READY) {
		assign_owned(s);
	}

	limits_update(s);
	dispatch_update(&s->dispatcher);
	supervisor_tell_state(s);
	if (s->state == SUPERVISOR_STOPPING && TAILQ_EMPTY(&s->children))
		ev_break(s->loop, EVBREAK_ALL);
}
