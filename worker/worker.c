#include "worker/worker.h"

#include <string.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/macros.h"
#include "common/net/server.h"
#include "worker/counting.h"
#include "worker/listing.h"
#include "worker/service.h"
#include "worker/serving.h"
#include "worker/wakeup.h"

/* Rows in one COUNTED message; more listeners make more messages. */
#define COUNTED_ROWS_MAX 4096

/* In one HELD message; what does not fit waits for the next turn of the loop. */
#define HELD_ROWS_MAX 1024

static void fail(struct worker *w, const char *what, int error)
{
	log_error("worker %u: %s: %s; ending", w->welcome.worker, what, net_error_message(error));
	w->status = EX_OSERR;
	ev_break(w->loop, EVBREAK_ALL);
}

static void send_or_fail(struct worker *w, enum ipc_type type, const void *body, const void *tail,
			 size_t tail_count)
{
	int error = channel_tell(&w->channel, type, body, tail, tail_count, NULL);

	if (error < 0)
		fail(w, "the supervisor cannot be told", error);
}

/* --- serving -------------------------------------------------------------------------------- */

void worker_end_if_idle(struct worker *w)
{
	if (w->draining && LIST_EMPTY(&w->services) && provider_is_idle(&w->provider))
		ev_break(w->loop, EVBREAK_ALL);
}

static void on_serve(struct worker *w, struct ipc_message *message)
{
	int error = serving_serve(w, message);

	if (error < 0)
		fail(w, "a listener that came", error);
}

static void on_adopt(struct worker *w, struct ipc_message *message)
{
	int error = serving_adopt(w, message);

	if (error < 0)
		fail(w, "a listener that came", error);
}

static void on_release(struct worker *w, struct ipc_message *message)
{
	serving_release(w, message->body);
}

static void on_nudge(struct worker *w, struct ipc_message *message)
{
	const struct ipc_nudge *body = message->body;

	if (body->listener >= IPC_SHARE_FIRST)
		provider_nudge(&w->provider, body->listener);
	else
		serving_nudge(w, body);
}

static void on_permit(struct worker *w, struct ipc_message *message)
{
	int error = serving_permit(w, message->body);

	if (error < 0)
		fail(w, "permits that came", error);
}

static void on_welcome(struct worker *w, struct ipc_message *message)
{
	memcpy(&w->welcome, message->body, sizeof(w->welcome));
}

static void on_claims(struct worker *w, struct ipc_message *message)
{
	int error = intake_claims(&w->intake, message);

	if (error < 0)
		fail(w, "the claims that came", error);
}

static void on_start(struct worker *w, struct ipc_message *message)
{
	if (!w->draining)
		send_or_fail(w, IPC_READY, NULL, NULL, 0);
}

static void on_count(struct worker *w, struct ipc_message *message)
{
	const struct ipc_count *question = message->body;
	struct ipc_counted counted = {.request = question->request};
	struct ipc_counted_row rows[COUNTED_ROWS_MAX];
	struct service *next;
	size_t n_rows;

	/* What is refused goes back before the others are counted, and those are their servers'. */
	intake_take_now(&w->intake);
	next = LIST_FIRST(&w->services);
	while (next) {
		n_rows = counting_fill(&next, rows, ARRAY_LEN(rows));
		send_or_fail(w, IPC_COUNTED, &counted, rows, n_rows);
	}
	n_rows = provider_count(&w->provider, rows, ARRAY_LEN(rows));
	counted.last = 1;
	send_or_fail(w, IPC_COUNTED, &counted, rows, n_rows);
}

static void list_server(uint32_t listener, struct net_server *server, void *ctx)
{
	listing_add(ctx, listener, server);
}

static void on_list(struct worker *w, struct ipc_message *message)
{
	struct ipc_listed_row rows[IPC_LISTED_MAX];
	const struct service *service;
	struct ipc_listed answer;
	struct listing listing;
	size_t n_rows;

	listing_begin(&listing, message->body);
	LIST_FOREACH (service, &w->services, link)
		listing_add(&listing, service->listener, service->server);
	provider_each_server(&w->provider, list_server, &listing);

	int error = listing_end(&listing, &answer, rows, &n_rows);
	if (error < 0)
		fail(w, "connections that are to be listed", error);
	else
		send_or_fail(w, IPC_LISTED, &answer, rows, n_rows);
}

/* --- servers that programs make -------------------------------------------------------------- */

static void on_listened(struct worker *w, struct ipc_message *message)
{
	int error = provider_listened(&w->provider, message);

	if (error < 0)
		fail(w, "a socket that came", error);
}

static void on_listened_apart(struct worker *w, struct ipc_message *message)
{
	int error = provider_listened_apart(&w->provider, message);

	if (error < 0)
		fail(w, "an address that came", error);
}

static void on_not_listened(struct worker *w, struct ipc_message *message)
{
	int error = provider_refused(&w->provider, message);

	if (error < 0)
		fail(w, "an answer about a socket", error);
}

static void on_provider_idle(void *ctx)
{
	worker_end_if_idle(ctx);
}

static void on_untold(int error, void *ctx)
{
	fail(ctx, "the supervisor cannot be told", error);
}

static void on_accepted(int fd, void *ctx)
{
	wakeup_requeue(fd);
}

static void complain_of_shortness(int error, void *ctx)
{
	struct worker *w = ctx;

	if (!throttle_lets(&w->shortness))
		return;
	log_warning("worker %u: cannot accept for now: %s", w->welcome.worker,
		    error < 0 ? strerror(-error) : "the kernel watches no more descriptors");
}

/* One that does not read would not have the others look either. A failure is none of the worker's:
 * there may be no memory, and the supervisor looks from time to time anyway. */
static void on_short(int error, void *ctx)
{
	struct worker *w = ctx;

	complain_of_shortness(error, w);
	if (w->channel.queued_messages == 0)
		(void)channel_send(&w->channel, IPC_SHORT, NULL, NULL, 0, NULL);
}

const struct server_sharing worker_sharing = {.accepted = on_accepted, .is_short = on_short};
const struct server_sharing worker_alone = {.is_short = complain_of_shortness};

static void on_shared(struct net_server *server, int fd, void *ctx)
{
	wakeup_mark(fd);
	server_share(server, &worker_sharing, ctx);
}

static void on_unshared(struct net_server *server, int fd)
{
	wakeup_unmark(fd);
	server_share(server, NULL, NULL);
}

static const struct provider_ops provider_ops = {
	.on_shared = on_shared,
	.on_parked = wakeup_leave,
	.on_unshared = on_unshared,
	.on_idle = on_provider_idle,
	.on_failed = on_untold,
};

/* --- connections that come accepted ---------------------------------------------------------- */

static void on_handoff(struct worker *w, struct ipc_message *message)
{
	int error = intake_handoff(&w->intake, message);

	if (error < 0)
		fail(w, "connections that came", error);
}

static struct net_server *server_of(uint32_t listener, uint32_t *ret_tally, void *ctx)
{
	struct worker *w = ctx;

	return listener >= IPC_SHARE_FIRST ? provider_server(&w->provider, listener)
					   : serving_server(w, listener, ret_tally);
}

/* One that was lost had its permit, too. */
static void on_given(uint32_t listener, int error, void *ctx)
{
	struct worker *w = ctx;
	char label[SERVING_LABEL_SIZE];

	permits_note_taken(&w->permits, listener);
	if (error == 0)
		return;
	serving_label(w, listener, label);
	log_warning("listener %s: a connection is lost: %s", label, net_error_message(error));
}

static size_t news(struct ipc_counted_row *rows, size_t room, void *ctx)
{
	struct worker *w = ctx;
	size_t n_rows = counting_news(&w->services, rows, room);

	return n_rows + provider_news(&w->provider, rows + n_rows, room - n_rows);
}

static void accept_permitted(void *ctx)
{
	struct worker *w = ctx;

	permits_accept(&w->permits);
}

/* After what was taken is known, so that no more have ended than were taken. */
static void tell_permits(void *ctx)
{
	struct worker *w = ctx;
	struct ipc_held_row rows[HELD_ROWS_MAX];
	size_t n_rows = permits_settle(&w->permits, rows, ARRAY_LEN(rows));

	if (n_rows > 0)
		send_or_fail(w, IPC_HELD, NULL, rows, n_rows);
}

static const struct intake_ops intake_ops = {
	.server_of = server_of,
	.on_given = on_given,
	.on_admitted = accept_permitted,
	.on_settled = tell_permits,
	.news = news,
	.on_failed = on_untold,
};

/* --- the end -------------------------------------------------------------------------------- */

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct worker *w = CONTAINER_OF(watcher, struct worker, deadline);
	struct service *service;
	size_t count = 0;

	LIST_FOREACH (service, &w->services, link) {
		count += net_server_connections(service->server);
		net_server_close_all_connections(service->server);
	}
	count += provider_end_connections(&w->provider);
	log_info("worker %u: closed %zu connections that had not ended in time", w->welcome.worker,
		 count);
}

static void set_deadline(struct worker *w, unsigned int timeout_ms)
{
	ev_now_update(w->loop);
	ev_timer_stop(w->loop, &w->deadline);
	ev_timer_set(&w->deadline, timeout_ms / 1000.0, 0);
	ev_timer_start(w->loop, &w->deadline);
}

/* A deadline that has passed is not set again. */
static void hurry(struct worker *w, unsigned int timeout_ms)
{
	ev_now_update(w->loop);
	if (ev_is_active(&w->deadline) &&
	    ev_timer_remaining(w->loop, &w->deadline) > timeout_ms / 1000.0)
		set_deadline(w, timeout_ms);
}

void worker_drain(struct worker *w, unsigned int timeout_ms, bool empty_queue)
{
	struct service *service;

	if (w->draining) {
		hurry(w, timeout_ms);
		return;
	}
	/* What came before is ours. */
	intake_end(&w->intake);
	w->draining = true;

	LIST_FOREACH (service, &w->services, link)
		service_stop(service, empty_queue);
	provider_disconnect(&w->provider, empty_queue);
	set_deadline(w, timeout_ms);
	send_or_fail(w, IPC_DRAINING, NULL, NULL, 0);
	worker_end_if_idle(w);
}

static void on_drain(struct worker *w, struct ipc_message *message)
{
	const struct ipc_drain *body = message->body;

	worker_drain(w, body->timeout_ms, body->empty_queue);
}

/* What comes accepted still comes: the supervisor knows whether it shall. */
static void on_rest(struct worker *w, struct ipc_message *message)
{
	struct service *service;

	LIST_FOREACH (service, &w->services, link)
		if (service->fd != -1)
			service_stop(service, false);
	provider_rest(&w->provider);
	send_or_fail(w, IPC_RESTING, NULL, NULL, 0);
}

static void on_resume(struct worker *w, struct ipc_message *message)
{
	provider_resume(&w->provider);
}

typedef void message_fn(struct worker *w, struct ipc_message *message);

static message_fn *const message_handlers[IPC_TYPE_END] = {
	[IPC_NUDGE] = on_nudge,
	[IPC_WELCOME] = on_welcome,
	[IPC_SERVE] = on_serve,
	[IPC_RELEASE] = on_release,
	[IPC_START] = on_start,
	[IPC_COUNT] = on_count,
	[IPC_DRAIN] = on_drain,
	[IPC_ADOPT] = on_adopt,
	[IPC_HANDOFF] = on_handoff,
	[IPC_LIST] = on_list,
	[IPC_REST] = on_rest,
	[IPC_RESUME] = on_resume,
	[IPC_CLAIMS] = on_claims,
	[IPC_LISTENED] = on_listened,
	[IPC_LISTENED_APART] = on_listened_apart,
	[IPC_NOT_LISTENED] = on_not_listened,
	[IPC_PERMIT] = on_permit,
};

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	message_fn *handler = message_handlers[message->type];

	if (handler)
		handler(ctx, message);
	else
		fail(ctx, "a message for which nobody is here", -EPROTO);
}

/* Without a supervisor nobody replaces this worker, nobody counts its connections, and nobody ends
 * it when the time is over that it had to drain. */
static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct worker *w = ctx;

	provider_lost(&w->provider);
	if (error < 0) {
		fail(w, why, error);
		return;
	}
	log_warning("worker %u: the supervisor has gone; ending in at most %u ms",
		    w->welcome.worker, w->welcome.orphan_timeout_ms);
	worker_drain(w, w->welcome.orphan_timeout_ms, false);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

int worker_init(struct worker *w, struct ev_loop *loop, int channel_fd)
{
	struct ipc_hello hello = {.version = IPC_VERSION};
	struct net_context *context;
	int error;

	*w = (struct worker){.loop = loop, .status = EX_OK};
	LIST_INIT(&w->services);
	permits_init(&w->permits, loop);
	ev_init(&w->deadline, on_deadline);

	error = context_get(loop, &context);
	if (error < 0)
		return error;
	error = channel_open(&w->channel, loop, channel_fd, IPC_WORKER, &channel_ops, w);
	if (error == 0)
		intake_init(&w->intake, &w->channel, context, &intake_ops, w);
	context_put(context);
	if (error == 0)
		error = provider_init(&w->provider, loop, &w->channel, &w->intake, &provider_ops,
				      w);
	if (error < 0)
		return error;
	return channel_send(&w->channel, IPC_HELLO, &hello, NULL, 0, NULL);
}

void worker_done(struct worker *w)
{
	struct service *service;

	ev_timer_stop(w->loop, &w->deadline);
	provider_done(&w->provider);
	while ((service = LIST_FIRST(&w->services))) {
		LIST_REMOVE(service, link);
		service_free(service);
	}
	permits_done(&w->permits);
	channel_close(&w->channel);
	intake_done(&w->intake);
}
