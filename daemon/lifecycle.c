#include "daemon/lifecycle.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

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
	assign_release(s, c);
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
	error = assign_again(s, c);
	if (error < 0) {
		log_error("%s: its listeners cannot be sent: %s; killing it", child_name(c),
			  strerror(-error));
		return kill_it(s, c);
	}
	log_info("%s serves again", child_name(c));
	return CHILD_READY;
}

/* --- the end -------------------------------------------------------------------------------- */

static bool died_quickly(const struct child *c)
{
	return ev_now(c->process.loop) - c->process.started_at < BACKOFF_QUICK_S;
}

/* It was told to end by somebody else: its successor need not wait for its last connection, unless
 * it has only just started and may be ending for a fault of its own. */
static enum child_state drains_by_itself(struct supervisor *s, struct child *c)
{
	log_info("%s drains, which it was not told to do here", child_name(c));
	child_set_deadline(c, s->config->drain_timeout_ms + s->config->stop_timeout_ms);
	if (s->state != SUPERVISOR_STOPPING && !died_quickly(c)) {
		c->retiring = true;
		supervisor_add_worker(s);
	}
	return stopped_accepting(s, c);
}

/* How the process ended, for the log. */
static const char *describe_end(const struct child *c)
{
	static char text[64];

	if (WIFSIGNALED(c->process.status))
		snprintf(text, sizeof(text), "died of SIG%s",
			 sigabbrev_np(WTERMSIG(c->process.status)));
	else if (WEXITSTATUS(c->process.status) != 0)
		snprintf(text, sizeof(text), "ended with status %d",
			 WEXITSTATUS(c->process.status));
	else
		snprintf(text, sizeof(text), "has ended");
	return text;
}

/* Nothing is left of it but its slot; what was on its way to it goes to others. */
static void forget_process(struct supervisor *s, struct child *c)
{
	c->process.pid = 0;
	shares_end(&c->holder);
	dispatch_bury(&s->dispatcher, &c->taker);
	limits_bury(s, c);
}

static enum child_state leave_slot(struct supervisor *s, struct child *c)
{
	log_info("%s %s", child_name(c), describe_end(c));
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
		log_warning("%s %s; another starts now", child_name(c), describe_end(c));
	else
		log_warning("%s %s, the %u. quick death in a row; next start in %u ms",
			    child_name(c), describe_end(c), c->quick_deaths, delay_ms);

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
	if (c->process.pid == 0 || c->state == CHILD_STOPPING) {
		/* What it has taken ends with it. */
		dispatch_look(&s->dispatcher);
		count_forget(&s->counter, c);
		list_forget(&s->lister, c);
		shares_end(&c->holder);
	}
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

/* --- what a child tells --------------------------------------------------------------------- */

static void on_hello(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	const struct ipc_hello *hello = message->body;

	if (hello->version == IPC_VERSION) {
		lifecycle_handle(s, c, EVENT_HELLO);
		return;
	}
	log_error("%s speaks version %u of the channel, this usherd %u: \"%s\" is not of this "
		  "installation; killing it",
		  child_name(c), hello->version, IPC_VERSION, s->program.path);
	lifecycle_handle(s, c, EVENT_BROKE);
}

static void on_ready(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	lifecycle_handle(s, c, EVENT_READY);
}

static void on_draining(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	lifecycle_handle(s, c, EVENT_DRAINING);
}

/* It may have been told more in between: its last answer counts. */
static void on_resting(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	if (c->rests == 0) {
		log_error("%s rests, which it was not told to; killing it", child_name(c));
		lifecycle_handle(s, c, EVENT_BROKE);
	} else if (--c->rests == 0) {
		lifecycle_handle(s, c, EVENT_RESTING);
	}
}

static void on_counted(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	/* What it refused before it counted is none of what it counted. */
	dispatch_look(&s->dispatcher);
	if (count_answer(&s->counter, c, message) == 0)
		return;
	log_error("%s counted a listener that does not exist; killing it", child_name(c));
	lifecycle_handle(s, c, EVENT_BROKE);
}

static void on_listed(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	if (list_answer(&s->lister, c, message) == 0)
		return;
	log_error("%s listed connections that cannot be; killing it", child_name(c));
	lifecycle_handle(s, c, EVENT_BROKE);
}

static void on_progress(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	if (dispatch_progress(&s->dispatcher, &c->taker, message) == 0) {
		limits_answered(s, c);
		return;
	}
	log_error("%s answered for a connection that it was never handed; killing it",
		  child_name(c));
	lifecycle_handle(s, c, EVENT_BROKE);
}

/* Of LISTEN, SERVING and UNLISTEN. */
static void check_listen(struct supervisor *s, struct child *c, int error)
{
	if (error == 0)
		return;
	log_error("%s asked for a socket in a way that no worker does; killing it", child_name(c));
	lifecycle_handle(s, c, EVENT_BROKE);
}

static void on_listen(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	check_listen(s, c, c->greeted ? shares_listen(&c->holder, message) : -EPROTO);
}

static void on_serving(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	check_listen(s, c, shares_serving(&c->holder, message));
}

static void on_unlisten(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	check_listen(s, c, shares_unlisten(&c->holder, message));
}

static void on_held(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	/* What it has taken so far it holds, and of what has ended we have no copy any more. */
	dispatch_look(&s->dispatcher);
	int error = limits_tell(s, c, message->tail, message->tail_count);

	if (error < 0) {
		log_error("%s holds permits that it was never given; killing it", child_name(c));
		lifecycle_handle(s, c, EVENT_BROKE);
		return;
	}
	dispatch_update(&s->dispatcher);
}

typedef void message_fn(struct supervisor *s, struct child *c, struct ipc_message *message);

static message_fn *const message_handlers[IPC_TYPE_END] = {
	[IPC_HELLO] = on_hello,       [IPC_READY] = on_ready,       [IPC_COUNTED] = on_counted,
	[IPC_DRAINING] = on_draining, [IPC_PROGRESS] = on_progress, [IPC_LISTED] = on_listed,
	[IPC_RESTING] = on_resting,   [IPC_LISTEN] = on_listen,     [IPC_SERVING] = on_serving,
	[IPC_UNLISTEN] = on_unlisten, [IPC_HELD] = on_held,
};

static void on_message(struct child *c, struct ipc_message *message, void *ctx)
{
	message_fn *handler = message_handlers[message->type];

	if (handler) {
		handler(ctx, c, message);
		return;
	}
	log_error("%s sent %s, for which nobody is here; killing it", child_name(c),
		  ipc_type_name(message->type));
	lifecycle_handle(ctx, c, EVENT_BROKE);
}

/* Its process never came to run the program. */
static void on_failed(struct child *c, enum ipc_step step, int error, void *ctx)
{
	static const char *const steps[IPC_STEP_END] = {
		[IPC_STEP_DESCRIPTORS] = "set up the descriptors for",
		[IPC_STEP_USER] = "become the user of",
		[IPC_STEP_FOLDER] = "go to the folder of",
		[IPC_STEP_EXECUTE] = "execute",
	};
	const struct supervisor *s = ctx;

	log_error("%s: cannot %s \"%s\": %s", child_name(c), steps[step], s->program.path,
		  strerror(-error));
	lifecycle_handle(ctx, c, EVENT_CLOSED);
}

static void on_lost(struct child *c, int error, const char *why, void *ctx)
{
	if (error == 0) {
		lifecycle_handle(ctx, c, EVENT_CLOSED);
		return;
	}
	log_error("%s: %s (%s); killing it", child_name(c), why, strerror(-error));
	lifecycle_handle(ctx, c, EVENT_BROKE);
}

static void on_exit_status(struct child *c, void *ctx)
{
	lifecycle_handle(ctx, c, EVENT_EXITED);
}

static void on_deadline(struct child *c, void *ctx)
{
	lifecycle_handle(ctx, c, EVENT_DEADLINE);
}

const struct child_ops lifecycle_ops = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};
