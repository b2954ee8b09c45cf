#include "common/cluster/intake.h"

#include "common/macros.h"
#include "common/net/server.h"

/* So many connections end with a copy elsewhere before the supervisor is to close its copies. */
#define ENDS_PER_BELL 2

/* --- telling --------------------------------------------------------------------------------- */

/* The supervisor sees all that was taken, and what the rows say is of the same moment. */
static void tell(struct intake *in)
{
	struct ipc_counted_row rows[INTAKE_ROWS_MAX];
	struct ipc_progress progress = {.taken = in->inbox.taken};
	size_t n_rows;
	int error;

	n_rows = in->tells ? in->ops->news(rows, ARRAY_LEN(rows), in->ctx) : 0;
	if (!in->rings && n_rows == 0)
		return;
	in->rings = false;
	in->told = in->inbox.taken;
	error = channel_tell(in->channel, IPC_PROGRESS, &progress, rows, n_rows, NULL);
	if (error < 0)
		in->ops->on_failed(error, in->ctx);
}

static bool has_room(const struct intake *in)
{
	return in->channel->queued_messages == 0;
}

/* While it has not read what it was told, there is more to tell later at once. */
static void tell_if_it_listens(struct intake *in)
{
	if (has_room(in))
		tell(in);
}

/* --- taking ---------------------------------------------------------------------------------- */

/* fd is the server's, or closed. */
static int admit(struct intake *in, struct net_server *server, uint32_t tally,
		 const struct arrival *arrival)
{
	int error = handed_add(&in->handed, arrival->fd, arrival->number, tally,
			       arrival->elsewhere);

	if (error < 0) {
		close_fd(arrival->fd);
		claims_count_end(&in->claims, tally);
		return error;
	}
	error = server_adopt(server, arrival->fd, &arrival->peer);
	if (error < 0)
		handed_remove(&in->handed, arrival->fd);
	return error;
}

/* One that is closed by us is closed by the supervisor, too, once it looks. */
static void take_next(struct intake *in, uint32_t listener)
{
	uint32_t tally = 0;
	struct net_server *server = in->ends ? NULL : in->ops->server_of(listener, &tally, in->ctx);
	struct arrival arrival;
	int error;

	if (!server) {
		inbox_refuse(&in->inbox, ESHUTDOWN);
		return;
	}
	if (!inbox_take(&in->inbox, &arrival))
		return;
	error = admit(in, server, tally, &arrival);
	in->rings |= error < 0;
	if (in->ops->on_given)
		in->ops->on_given(listener, error, in->ctx);
}

static void take(struct intake *in)
{
	const struct arrival *next;

	if (inbox_waits(&in->inbox)) {
		in->takes = true;
		while ((next = inbox_next(&in->inbox)))
			take_next(in, next->listener);
		in->takes = false;
		in->rings |= inbox_finish(&in->inbox);
		in->rings |= in->tells || claims_wants_bell(&in->claims);
	}
	tell_if_it_listens(in);
}

static void on_settle(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct intake *in = CONTAINER_OF(watcher, struct intake, settle);

	take(in);
	if (in->ops->on_admitted)
		in->ops->on_admitted(in->ctx);
}

/* With the lowest priority this comes after the deferred calls of those that are new: some may have
 * ended already, and nothing else would wake us to tell that. */
static void on_tell(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct intake *in = CONTAINER_OF(watcher, struct intake, tell);

	tell_if_it_listens(in);
	if (in->ops->on_settled && has_room(in))
		in->ops->on_settled(in->ctx);
}

/* --- copies ---------------------------------------------------------------------------------- */

static bool has_copy(void *ctx, int fd)
{
	const struct intake *in = ctx;

	return handed_copy(&in->handed, fd) != 0 || handed_is_elsewhere(&in->handed, fd);
}

static bool is_elsewhere(void *ctx, int fd)
{
	const struct intake *in = ctx;

	return handed_is_elsewhere(&in->handed, fd);
}

/* Whether the supervisor is to look before it does so by itself. A client that has not heard of the
 * end hears of it when the supervisor has closed its copy. One that has waits for nothing; but each
 * end that passes a copy costs us more than a close, so that a few of them are worth a bell. */
static bool is_worth_a_bell(struct intake *in, bool ended)
{
	uint32_t let_go = claims_let_go_of(&in->claims);

	if (let_go != in->let_go)
		in->n_ended = 0;
	in->let_go = let_go;
	return !ended || ++in->n_ended >= ENDS_PER_BELL;
}

static bool on_closing(void *ctx, int fd, bool ended)
{
	struct intake *in = ctx;
	uint32_t number = handed_copy(&in->handed, fd);
	bool elsewhere = handed_is_elsewhere(&in->handed, fd);

	handed_remove(&in->handed, fd);
	if (number == 0)
		return elsewhere;
	/* It may have been told of it already, and not have come to it yet. */
	if (claims_is_before(in->told, number) && is_worth_a_bell(in, ended)) {
		in->rings = true;
		if (!in->takes)
			tell_if_it_listens(in);
	}
	return true;
}

static const struct copy_keeper keeper = {
	.has = has_copy, .closing = on_closing, .lingers = is_elsewhere};

/* --- what comes ------------------------------------------------------------------------------ */

int intake_claims(struct intake *in, struct ipc_message *message)
{
	return in->claims.page ? -EPROTO : claims_open(&in->claims, message->fds[0]);
}

int intake_handoff(struct intake *in, struct ipc_message *message)
{
	return inbox_put(&in->inbox, message);
}

void intake_tell(struct intake *in)
{
	in->tells = true;
}

void intake_take_now(struct intake *in)
{
	take(in);
	tell(in);
}

void intake_end(struct intake *in)
{
	if (in->ends)
		return;
	take(in);
	in->ends = true;
}

/* --- from start to end ----------------------------------------------------------------------- */

static void start(const struct intake *in, ev_prepare *watcher,
		  void (*fn)(struct ev_loop *loop, ev_prepare *watcher, int events), int priority)
{
	ev_prepare_init(watcher, fn);
	ev_set_priority(watcher, priority);
	ev_prepare_start(in->context->loop, watcher);
	ev_unref(in->context->loop);
}

static void stop(const struct intake *in, ev_prepare *watcher)
{
	ev_ref(in->context->loop);
	ev_prepare_stop(in->context->loop, watcher);
}

void intake_init(struct intake *in, struct channel *channel, struct net_context *context,
		 const struct intake_ops *ops, void *ctx)
{
	*in = (struct intake){.channel = channel, .context = context, .ops = ops, .ctx = ctx};
	handed_init(&in->handed, &in->claims);
	inbox_init(&in->inbox, &in->claims);
	context_hold(context);
	context_set_copy_keeper(context, &keeper, in);
	start(in, &in->settle, on_settle, 0);
	start(in, &in->tell, on_tell, EV_MINPRI);
}

void intake_done(struct intake *in)
{
	if (!in->context)
		return;
	stop(in, &in->settle);
	stop(in, &in->tell);
	inbox_done(&in->inbox);
	context_set_copy_keeper(in->context, NULL, NULL);
	context_put(in->context);
	handed_done(&in->handed);
	claims_close(&in->claims);
	in->context = NULL;
}
