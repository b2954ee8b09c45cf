#include "daemon/command_list.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "common/clock.h"
#include "common/ipc/wide.h"
#include "common/macros.h"
#include "daemon/made.h"

#define PEER_SIZE 80

struct list_call {
	struct control_call *call;
	const struct supervisor *supervisor;
	char *made; /* of that one only, which workers made; NULL: as was asked */
	unsigned int worker;
	unsigned int slot;
	pid_t pid;
};

/* --- rows ----------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void format_process(uint32_t pid, uint32_t uid, char text[PEER_SIZE])
{
	snprintf(text, PEER_SIZE, "pid %u, uid %u", pid, uid);
}

static void format_peer(const struct ipc_listed_row *row, char text[PEER_SIZE])
{
	struct addr peer = {0};

	if (row->family == AF_UNIX) {
		format_process(row->port, row->scope, text);
		return;
	}
	addr_any((int)row->family, (uint16_t)row->port, &peer);
	if (row->family == AF_INET) {
		memcpy(&peer.in.sin_addr, row->address, sizeof(peer.in.sin_addr));
	} else {
		memcpy(&peer.in6.sin6_addr, row->address, sizeof(peer.in6.sin6_addr));
		peer.in6.sin6_scope_id = row->scope;
	}
	addr_format(&peer, text, PEER_SIZE);
}

static json_t *listener_json(const struct list_call *lc, uint32_t listener)
{
	if (listener >= IPC_SHARE_FIRST)
		return made_name(lc->supervisor, listener);
	return json_string(lc->supervisor->listeners[listener].config->name);
}

static json_t *connection_json(const struct list_call *lc, const struct ipc_listed_row *row)
{
	json_int_t id = (json_int_t)wide_get(row->accepted_us);
	json_int_t age_us = (json_int_t)now_us() - id;
	char peer[PEER_SIZE];

	format_peer(row, peer);
	return json_pack("{s:o, s:i, s:i, s:i, s:I, s:s, s:f, s:I, s:I}", "listener",
			 listener_json(lc, row->listener), "worker", lc->worker, "slot", lc->slot,
			 "pid", (int)lc->pid, "id", id, "peer", peer, "age_s",
			 age_us > 0 ? (double)age_us / 1e6 : 0.0, "bytes_read",
			 (json_int_t)wide_get(row->bytes_read), "bytes_written",
			 (json_int_t)wide_get(row->bytes_written));
}

/* --- pages ---------------------------------------------------------------------------------- */

/* Several may have one name: those that are closed and have connections as well. */
static bool is_wanted(const struct list_call *lc, uint32_t listener)
{
	return !lc->made ||
	       (listener >= IPC_SHARE_FIRST && made_is_named(lc->supervisor, listener, lc->made));
}

static json_t *page_json(const struct list_call *lc, const struct list_page *page)
{
	json_t *connections = json_array();
	json_t *next = page->next_us ? json_integer((json_int_t)page->next_us) : json_null();

	for (size_t i = 0; i < page->n_rows; i++)
		if (is_wanted(lc, page->rows[i].listener))
			json_array_append_new(connections, connection_json(lc, &page->rows[i]));
	return json_pack("{s:i, s:b, s:o, s:o}", "worker", lc->worker, "stale",
			 page->end == LIST_LATE, "next", next, "connections", connections);
}

static void on_page(const struct list_page *page, void *ctx)
{
	AUTO_FREE struct list_call *lc = ctx;
	AUTO_FREE char *made = lc->made;

	control_answer(lc->call, page_json(lc, page));
}

/* What cannot be asked has a page of its own: one that has ended, or whose channel is full. */
static int ask(struct list_call *lc, struct supervisor *s, uint32_t listener, uint64_t before_us)
{
	struct child *c = supervisor_find_worker(s, lc->worker);
	int error = -EPIPE;

	if (c) {
		lc->slot = c->slot;
		lc->pid = c->process.pid;
		error = list_start(&s->lister, c, listener, before_us, on_page, lc);
	}
	if (error == -EPIPE)
		on_page(&(struct list_page){.end = LIST_GONE}, lc);
	else if (error == -ENOBUFS)
		on_page(&(struct list_page){.end = LIST_LATE}, lc);
	return error == -EPIPE || error == -ENOBUFS ? 0 : error;
}

/* --- what no worker has yet ------------------------------------------------------------------ */

struct waiting_page {
	const struct supervisor *supervisor;
	uint32_t listener;
	json_t *connections;
	bool truncated;
};

/* The client of a Unix socket is told as the worker will tell it. */
static void format_waiting_peer(const struct transit *t, char text[PEER_SIZE])
{
	struct ucred who;

	if (t->peer.sa.sa_family != AF_UNIX) {
		addr_format(&t->peer, text, PEER_SIZE);
		return;
	}
	addr_peer_process(t->fd, &who);
	format_process((uint32_t)who.pid, who.uid, text);
}

/* taker is that of the worker which it is on its way to. */
static json_t *waiting_json(const struct waiting_page *page, const struct transit *t,
			    const struct taker *taker)
{
	const struct child *c = taker ? CONTAINER_OF(taker, struct child, taker) : NULL;
	char peer[PEER_SIZE];

	format_waiting_peer(t, peer);
	return json_pack("{s:s, s:o, s:o, s:o, s:n, s:s, s:f, s:i, s:i}", "listener",
			 page->supervisor->listeners[t->source->id].config->name, "worker",
			 c ? json_integer(c->id) : json_null(), "slot",
			 c ? json_integer(c->slot) : json_null(), "pid",
			 c ? json_integer(c->process.pid) : json_null(), "id", "peer", peer,
			 "age_s", (double)(clock_ms() - t->accepted_ms) / 1000, "bytes_read", 0,
			 "bytes_written", 0);
}

static bool add_waiting(const struct transit *t, const struct taker *taker, void *ctx)
{
	struct waiting_page *page = ctx;

	if (page->listener != IPC_LISTENERS_ALL && t->source->id != page->listener)
		return true;
	if (json_array_size(page->connections) == IPC_LISTED_MAX) {
		page->truncated = true;
		return false;
	}
	json_array_append_new(page->connections, waiting_json(page, t, taker));
	return true;
}

/* What workers made they accept on themselves. */
static void list_waiting(struct control_call *call, uint32_t listener, const char *made,
			 const struct supervisor *s)
{
	struct waiting_page page = {s, listener, .connections = json_array()};

	if (!made)
		dispatch_each_waiting(&s->dispatcher, add_waiting, &page);
	control_answer(call,
		       json_pack("{s:n, s:b, s:n, s:b, s:o}", "worker", "stale", 0, "next",
				 "truncated", page.truncated, "connections", page.connections));
}

/* NULL without memory. */
static struct list_call *call_new(struct control_call *call, const struct supervisor *s,
				  unsigned int worker, const char *made)
{
	AUTO_FREE char *copy = made ? strdup(made) : NULL;
	struct list_call *lc = calloc(1, sizeof(*lc));

	if (!lc || (made && !copy)) {
		free(lc);
		return NULL;
	}
	*lc = (struct list_call){.call = call, .supervisor = s, .made = copy, .worker = worker};
	copy = NULL;
	return lc;
}

void command_list(struct control_call *call, const json_t *request, uint32_t listener,
		  const char *made, struct supervisor *s)
{
	json_int_t worker = json_integer_value(json_object_get(request, "worker"));
	json_int_t before_us = json_integer_value(json_object_get(request, "before"));
	struct list_call *lc;
	int error;

	if (worker == 0) {
		dispatch_look(&s->dispatcher);
		list_waiting(call, listener, made, s);
		return;
	}
	lc = call_new(call, s, (unsigned int)worker, made);
	error = lc ? ask(lc, s, listener, (uint64_t)before_us) : -ENOMEM;
	if (error < 0) {
		if (lc)
			free(lc->made);
		free(lc);
		control_refuse(call, EX_OSERR, "%s", strerror(-error));
	}
}
