#include "worker/worker.h"

#include <string.h>
#include <sysexits.h>

#include "common/log.h"
#include "common/macros.h"
#include "worker/service.h"

/* Rows in one COUNTED message; more listeners make more messages. */
#define COUNTED_ROWS_MAX 4096

static void fail(struct worker *w, const char *what, int error)
{
	log_error("worker %u: %s: %s; ending", w->welcome.worker, what, net_error_message(error));
	w->status = EX_OSERR;
	ev_break(w->loop, EVBREAK_ALL);
}

static void send_or_fail(struct worker *w, enum ipc_type type, const void *body, const void *tail,
			 size_t tail_count)
{
	int error = channel_send(&w->channel, type, body, tail, tail_count, NULL);

	/* A supervisor that has gone is seen by the reading side. */
	if (error < 0 && error != -EPIPE)
		fail(w, "the supervisor cannot be told", error);
}

/* --- serving -------------------------------------------------------------------------------- */

static void end_if_idle(struct worker *w)
{
	if (w->draining && LIST_EMPTY(&w->services))
		ev_break(w->loop, EVBREAK_ALL);
}

static void on_idle(struct service *service, void *ctx)
{
	LIST_REMOVE(service, link);
	service_free(service);
	end_if_idle(ctx);
}

/* Not one that only waits for its last connections: its socket may come again. */
static struct service *find_service(struct worker *w, uint32_t listener, uint32_t handle)
{
	struct service *service;

	LIST_FOREACH (service, &w->services, link)
		if (service->listener == listener && service->handle == handle && !service->stopped)
			return service;
	return NULL;
}

/* Those of one listener stand together, so that they are counted together. */
static void insert_service(struct worker *w, struct service *service)
{
	struct service *other;

	LIST_FOREACH (other, &w->services, link)
		if (other->listener == service->listener) {
			LIST_INSERT_AFTER(other, service, link);
			return;
		}
	LIST_INSERT_HEAD(&w->services, service, link);
}

static void on_serve(struct worker *w, struct ipc_message *message)
{
	const struct ipc_serve *body = message->body;
	const char *text = message->tail;
	struct service *service;

	if (body->name_size > message->tail_count ||
	    find_service(w, body->listener, body->handle)) {
		fail(w, "a listener that came", -EPROTO);
		return;
	}
	struct service_options options = {
		.listener = body->listener,
		.handle = body->handle,
		.handler = body->handler,
		.text = {text + body->name_size, message->tail_count - body->name_size},
	};
	int error = service_new(w->loop, &options, message->fds[0], on_idle, w, &service);
	if (error < 0) {
		fail(w, "a listener that came", error);
		return;
	}
	message->fds[0] = -1;
	insert_service(w, service);
	if (w->draining)
		service_stop(service, false);
}

static void on_release(struct worker *w, struct ipc_message *message)
{
	const struct ipc_release *body = message->body;
	struct service *service = find_service(w, body->listener, body->handle);

	if (service)
		service_stop(service, false);
}

static void on_welcome(struct worker *w, struct ipc_message *message)
{
	memcpy(&w->welcome, message->body, sizeof(w->welcome));
}

static void on_start(struct worker *w, struct ipc_message *message)
{
	if (!w->draining)
		send_or_fail(w, IPC_READY, NULL, NULL, 0);
}

static uint32_t connections_of(const struct service *service)
{
	return (uint32_t)net_server_connections(service->server);
}

static void on_count(struct worker *w, struct ipc_message *message)
{
	const struct ipc_count *question = message->body;
	struct ipc_counted answer = {.request = question->request};
	struct ipc_counted_row rows[COUNTED_ROWS_MAX];
	struct service *service;
	size_t n_rows = 0;

	LIST_FOREACH (service, &w->services, link) {
		if (n_rows > 0 && rows[n_rows - 1].listener == service->listener) {
			rows[n_rows - 1].connections += connections_of(service);
			continue;
		}
		if (n_rows == ARRAY_LEN(rows)) {
			send_or_fail(w, IPC_COUNTED, &answer, rows, n_rows);
			n_rows = 0;
		}
		rows[n_rows++] = (struct ipc_counted_row){
			.listener = service->listener,
			.connections = connections_of(service),
		};
	}
	answer.last = 1;
	send_or_fail(w, IPC_COUNTED, &answer, rows, n_rows);
}

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
	log_info("worker %u: closed %zu connections that had not ended in time", w->welcome.worker,
		 count);
}

void worker_drain(struct worker *w, unsigned int timeout_ms, bool empty_queue)
{
	struct service *service;

	if (w->draining)
		return;
	w->draining = true;

	LIST_FOREACH (service, &w->services, link)
		service_stop(service, empty_queue);
	ev_now_update(w->loop);
	ev_timer_set(&w->deadline, timeout_ms / 1000.0, 0);
	ev_timer_start(w->loop, &w->deadline);
	send_or_fail(w, IPC_DRAINING, NULL, NULL, 0);
	end_if_idle(w);
}

static void on_drain(struct worker *w, struct ipc_message *message)
{
	const struct ipc_drain *body = message->body;

	worker_drain(w, body->timeout_ms, body->empty_queue);
}

typedef void message_fn(struct worker *w, struct ipc_message *message);

static message_fn *const message_handlers[IPC_TYPE_END] = {
	[IPC_WELCOME] = on_welcome, [IPC_SERVE] = on_serve, [IPC_RELEASE] = on_release,
	[IPC_START] = on_start,     [IPC_COUNT] = on_count, [IPC_DRAIN] = on_drain,
};

static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	message_handlers[message->type](ctx, message);
}

/* Without a supervisor nobody replaces this worker, and nobody counts its connections. */
static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct worker *w = ctx;

	if (error < 0) {
		fail(w, why, error);
		return;
	}
	if (w->draining)
		return;
	log_warning("worker %u: the supervisor has gone; ending in at most %u ms",
		    w->welcome.worker, w->welcome.orphan_timeout_ms);
	worker_drain(w, w->welcome.orphan_timeout_ms, false);
}

static const struct channel_ops channel_ops = {.on_message = on_message, .on_lost = on_lost};

int worker_init(struct worker *w, struct ev_loop *loop, int channel_fd)
{
	struct ipc_hello hello = {.version = IPC_VERSION};
	int error;

	*w = (struct worker){.loop = loop, .status = EX_OK};
	LIST_INIT(&w->services);
	ev_init(&w->deadline, on_deadline);

	error = channel_open(&w->channel, loop, channel_fd, IPC_WORKER, &channel_ops, w);
	if (error < 0)
		return error;
	return channel_send(&w->channel, IPC_HELLO, &hello, NULL, 0, NULL);
}

void worker_done(struct worker *w)
{
	struct service *service;

	ev_timer_stop(w->loop, &w->deadline);
	while ((service = LIST_FIRST(&w->services))) {
		LIST_REMOVE(service, link);
		service_free(service);
	}
	channel_close(&w->channel);
}
