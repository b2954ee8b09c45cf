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

static void look_at(const struct nudge *n, struct share *share)
{
	struct pollfd entry = {.fd = share->bound.fd, .events = POLLIN};
	bool waits = poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN);

	if (waits && share->waited)
		tell_workers(n, share->id);
	share->waited = waits;
}

static void look_at_shares(const struct nudge *n)
{
	struct share *share;

	LIST_FOREACH (share, &n->shares->list, link)
		if (share->source.policy == POLICY_NONE)
			look_at(n, share);
}

/* A queue that is not empty for a moment is nothing; one that was so the last time as well may be
 * the same connection. */
static void on_timer(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct nudge *n = CONTAINER_OF(watcher, struct nudge, timer);

	look_at_shares(n);
	if (!has_work(n))
		ev_timer_stop(loop, watcher);
	/* What cannot be polled now is polled the next time. */
	if (poll(n->entries, n->count, 0) == -1)
		return;

	for (size_t i = 0; i < n->count; i++) {
		struct nudge_queue *queue = &n->queues[i];
		bool waits = n->entries[i].revents & POLLIN;

		if (waits && queue->waited)
			tell_workers(n, queue->listener);
		queue->waited = waits;
	}
}

int nudge_start(struct nudge *n, struct ev_loop *loop, const struct child_list *children,
		const struct listener *listeners, size_t n_listeners, struct shares *shares)
{
	*n = (struct nudge){.loop = loop, .children = children, .shares = shares};
	ev_timer_init(&n->timer, on_timer, NUDGE_INTERVAL_S, NUDGE_INTERVAL_S);

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

void nudge_stop(struct nudge *n)
{
	if (!n->loop)
		return;
	ev_timer_stop(n->loop, &n->timer);
	free(n->entries);
	free(n->queues);
	*n = (struct nudge){0};
}
