#include "daemon/lifecycle_input.h"

#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "daemon/lifecycle.h"
#include "daemon/limits.h"
#include "daemon/supervisor.h"

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
		if (limits_answered(s, c))
			dispatch_update(&s->dispatcher);
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
	const struct ipc_unlisten *body = message->body;
	const struct share_hold *hold = share_hold_find(&c->holder, body->request);

	if (hold && hold->state == SHARE_HELD)
		nudge_others_of(&s->nudge, hold->share);
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

static void on_short(struct supervisor *s, struct child *c, struct ipc_message *message)
{
	nudge_short(&s->nudge);
}

typedef void message_fn(struct supervisor *s, struct child *c, struct ipc_message *message);

static message_fn *const message_handlers[IPC_TYPE_END] = {
	[IPC_HELLO] = on_hello,       [IPC_READY] = on_ready,       [IPC_COUNTED] = on_counted,
	[IPC_DRAINING] = on_draining, [IPC_PROGRESS] = on_progress, [IPC_LISTED] = on_listed,
	[IPC_RESTING] = on_resting,   [IPC_LISTEN] = on_listen,     [IPC_SERVING] = on_serving,
	[IPC_UNLISTEN] = on_unlisten, [IPC_HELD] = on_held,         [IPC_SHORT] = on_short,
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

const struct child_ops lifecycle_input = {
	.on_message = on_message,
	.on_failed = on_failed,
	.on_lost = on_lost,
	.on_exit = on_exit_status,
	.on_deadline = on_deadline,
};
