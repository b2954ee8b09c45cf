#include "worker/permits.h"

#include <stdlib.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "worker/service.h"
#include "worker/wakeup.h"

static void on_figures(struct ev_loop *loop, ev_timer *timer, int events)
{
	CONTAINER_OF(timer, struct permits_book, figures)->due = true;
}

void permits_init(struct permits_book *book, struct ev_loop *loop)
{
	*book = (struct permits_book){.loop = loop};
	LIST_INIT(&book->all);
	ev_init(&book->figures, on_figures);
}

void permits_done(struct permits_book *book)
{
	struct permits *p;

	ev_timer_stop(book->loop, &book->figures);
	while ((p = LIST_FIRST(&book->all))) {
		LIST_REMOVE(p, link);
		free(p);
	}
}

static struct permits *find(const struct permits_book *book, uint32_t listener)
{
	struct permits *p;

	LIST_FOREACH (p, &book->all, link)
		if (p->listener == listener)
			return p;
	return NULL;
}

struct permits *permits_get(struct permits_book *book, uint32_t listener, bool accepts)
{
	struct permits *p = find(book, listener);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->listener = listener;
	p->accepts = accepts;
	LIST_INIT(&p->services);
	LIST_INSERT_HEAD(&book->all, p, link);
	return p;
}

/* Of all its services, those that only wait for their last connections among them. */
static uint32_t count_used(const struct permits *p)
{
	const struct service *service;
	uint32_t used = 0;

	LIST_FOREACH (service, &p->services, of_permits)
		used += (uint32_t)net_server_connections(service->server);
	return used;
}

static bool has_free(void *ctx)
{
	const struct permits *p = ctx;

	return count_used(p) < p->held;
}

static const struct server_gate gate = {.is_open = has_free, .on_parked = wakeup_leave};

void permits_join(struct permits *p, struct service *service)
{
	service->permits = p;
	LIST_INSERT_HEAD(&p->services, service, of_permits);
	if (p->accepts)
		server_set_gate(service->server, &gate, p);
}

void permits_leave(struct service *service)
{
	if (!service->permits)
		return;
	LIST_REMOVE(service, of_permits);
	service->permits = NULL;
}

void permits_note_taken(struct permits_book *book, uint32_t listener)
{
	struct permits *p = find(book, listener);

	if (p)
		p->taken++;
}

void permits_take(struct permits *p, const struct ipc_permit *message)
{
	p->held += message->granted - p->last.granted;
	p->keep = message->keep;
	p->last = *message;
}

/* --- accepting ------------------------------------------------------------------------------- */

static bool is_active(const struct permits *p)
{
	const struct service *service;

	LIST_FOREACH (service, &p->services, of_permits)
		if (!service->stopped)
			return true;
	return false;
}

/* Those that may be kept wait for connections; others are for what is there now, or for nobody. */
static void use(struct permits *p)
{
	struct service *service, *next;

	for (service = LIST_FIRST(&p->services); service; service = next) {
		next = LIST_NEXT(service, of_permits);
		if (service->stopped)
			continue;
		if (p->keep > 0)
			server_unpark(service->server);
		else if (p->last.serial != p->answered)
			server_accept_now(service->server);
	}
}

void permits_accept(struct permits_book *book)
{
	struct permits *p;

	LIST_FOREACH (p, &book->all, link)
		if (p->accepts && has_free(p))
			use(p);
}

/* Without descriptors the answer waits, so that nothing is given here meanwhile. */
static bool is_short(const struct permits *p)
{
	const struct service *service;

	LIST_FOREACH (service, &p->services, of_permits)
		if (!service->stopped && server_is_short(service->server))
			return true;
	return false;
}

/* --- telling --------------------------------------------------------------------------------- */

/* Returns whether there is something to tell. */
static bool settle_accepting(struct permits *p, bool due, struct ipc_held_row *row)
{
	bool answers = p->last.serial != p->answered;
	uint32_t used = count_used(p);
	uint32_t keep = is_active(p) ? p->keep : 0;
	uint32_t kept = p->held < keep ? p->held : keep;

	kept = kept > used ? kept : used;
	bool out = keep > 0 && used == kept && !p->told_out;

	if (answers && used < p->held && is_short(p))
		return false;
	if (!answers && !out && kept == p->held && !(due && used != p->told_used))
		return false;
	p->held = kept;
	p->answered = p->last.serial;
	p->told_out = used == kept;
	p->told_used = used;
	row->kept = kept;
	row->used = used;
	return true;
}

static bool settle_handed(struct permits *p, struct ipc_held_row *row)
{
	row->ended = p->taken - count_used(p);
	if (row->ended == p->told_ended)
		return false;
	p->told_ended = row->ended;
	return true;
}

static bool settle(struct permits *p, bool due, struct ipc_held_row *row)
{
	*row = (struct ipc_held_row){
		.listener = p->listener,
		.serial = p->last.serial,
		.granted = p->last.granted,
	};
	return p->accepts ? settle_accepting(p, due, row) : settle_handed(p, row);
}

static void tell_later(struct permits_book *book)
{
	if (ev_is_active(&book->figures))
		return;
	ev_timer_set(&book->figures, PERMITS_TELL_S, 0);
	ev_timer_start(book->loop, &book->figures);
}

size_t permits_settle(struct permits_book *book, struct ipc_held_row *rows, size_t max)
{
	struct permits *p;
	size_t n = 0;

	LIST_FOREACH (p, &book->all, link) {
		if (n < max)
			n += settle(p, book->due, &rows[n]);
		if (p->accepts && count_used(p) != p->told_used)
			tell_later(book);
	}
	book->due = false;
	return n;
}
