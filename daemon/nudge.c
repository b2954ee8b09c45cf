#include "daemon/nudge.h"

#include "common/macros.h"

/* Who does not read its channel is stopped or busy, and whether it is told does not matter. */
static void tell_workers(const struct nudge *n, uint32_t listener)
{
	const struct ipc_nudge message = {.listener = listener};
	struct child *c;

	TAILQ_FOREACH (c, n->children, link)
		if (c->state == CHILD_READY && c->process.channel.queued_messages == 0)
			child_send(c, IPC_NUDGE, &message, NULL, 0, NULL);
}

static bool has_work(const struct nudge *n)
{
	return n->count > 0 || !LIST_EMPTY(&n->shares->list);
}

/* A queue that is not empty for a moment is nothing; one that was so the last time as well may be
 * the same connection. */
static void note(const struct nudge *n, uint32_t listener, bool waits, bool at_once, bool *waited)
{
	if (waits && (at_once || *waited))
		tell_workers(n, listener);
	*waited = waits;
}

static void look_at_share(const struct nudge *n, struct share *share, bool at_once)
{
	struct pollfd entry = {.fd = share->bound.fd, .events = POLLIN};

	if (share->source.policy == POLICY_NONE)
		note(n, share->id, poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN), at_once,
		     &share->waited);
}

static void look(const struct nudge *n, bool at_once)
{
	struct share *share;

	LIST_FOREACH (share, &n->shares->list, link)
		look_at_share(n, share, at_once);
	/* What cannot be polled now is polled the next time. */
	if (poll(n->entries, n->count, 0) == -1)
		return;
	for (size_t i = 0; i < n->count; i++)
		note(n, n->queues[i].listener, n->entries[i].revents & POLLIN, at_once,
		     &n->queues[i].waited);
}

static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
	const struct nudge *n = CONTAINER_OF(watcher, struct nudge, timer);

	look(n, false);
	if (!has_work(n))
		ev_timer_stop(loop, watcher);
}

static void on_short_pause_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct nudge *n = CONTAINER_OF(watcher, struct nudge, short_pause);

	if (n->short_again)
		nudge_short(n);
}

int nudge_start(struct nudge *n, struct ev_loop *loop, const struct child_list *children,
		const struct listener *listeners, size_t n_listeners, struct shares *shares)
{
	*n = (struct nudge){.loop = loop, .children = children, .shares = shares};
	ev_timer_init(&n->timer, on_timer, NUDGE_INTERVAL_S, NUDGE_INTERVAL_S);
	ev_init(&n->short_pause, on_short_pause_over);

	n->entries = calloc(n_listeners + 1, sizeof(*n->entries));
	n->queues = calloc(n_listeners + 1, sizeof(*n->queues));
	if (!n->entries || !n->queues) {
		nudge_stop(n);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_listeners; i++) {
		const struct config_listener *config = listeners[i].config;

		if (config->distribute != DISTRIBUTE_SHARED || config->exclusive)
			continue;
		n->entries[n->count] = (struct pollfd){
			.fd = listeners[i].handles[0].bound.fd,
			.events = POLLIN,
		};
		n->queues[n->count++].listener = listeners[i].source.id;
	}
	if (has_work(n))
		ev_timer_start(loop, &n->timer);
	return 0;
}

void nudge_share(struct nudge *n)
{
	if (!n->loop || ev_is_active(&n->timer))
		return;
	ev_now_update(n->loop);
	ev_timer_set(&n->timer, NUDGE_INTERVAL_S, NUDGE_INTERVAL_S);
	ev_timer_start(n->loop, &n->timer);
}

void nudge_others(const struct nudge *n)
{
	if (n->loop)
		look(n, true);
}

void nudge_others_of(const struct nudge *n, struct share *share)
{
	if (n->loop)
		look_at_share(n, share, true);
}

void nudge_short(struct nudge *n)
{
	if (!n->loop)
		return;
	if (ev_is_active(&n->short_pause)) {
		n->short_again = true;
		return;
	}
	n->short_again = false;
	look(n, true);
	ev_now_update(n->loop);
	ev_timer_set(&n->short_pause, NUDGE_SHORT_S, 0);
	ev_timer_start(n->loop, &n->short_pause);
}

void nudge_stop(struct nudge *n)
{
	if (!n->loop)
		return;
	ev_timer_stop(n->loop, &n->timer);
	ev_timer_stop(n->loop, &n->short_pause);
	free(n->entries);
	free(n->queues);
	*n = (struct nudge){0};
}
