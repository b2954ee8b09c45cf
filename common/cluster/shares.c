#include "common/cluster/shares.h"

#include <errno.h>

#include "common/cluster/share_answer.h"
#include "common/cluster/share_open.h"

/* --- what workers say ------------------------------------------------------------------------ */

/* The address that a request names, if it names one. */
static const struct addr *address_of(const struct share_request *request, struct addr *ret)
{
	if (request->kind != IPC_LISTEN_PORT)
		return NULL;
	if (!request->text) {
		addr_any(AF_INET6, request->port, ret);
		return ret;
	}
	return addr_parse(request->text, request->port, ret) == 0 ? ret : NULL;
}

static int join(struct holder *holder, struct share *share, const struct share_request *request)
{
	const struct shares *shares = holder->shares;
	const char *difference = share_request_difference(&share->request, request);

	if (share_hold_exists(holder, share))
		return -EADDRINUSE;
	if (difference)
		shares->ops->on_difference(holder, request, difference, shares->ctx);
	int error = share_hold_new(holder, share, request->number);
	if (error == 0 && share->bound.fd >= 0)
		share_answer_grant(share_hold_find(holder, request->number));
	return error;
}

static int begin(struct holder *holder, struct share_request *request, const struct addr *addr,
		 enum share_permission permission)
{
	struct share *share = share_new(holder->shares, request);
	int error = share ? share_hold_new(holder, share, request->number) : -ENOMEM;

	if (error == 0)
		share_open_start(share, addr, permission);
	else if (share)
		share_tidy(share);
	return error;
}

/* Forgets a share of which only connections can be left, to make room. */
static void forget_one(struct holder *holder)
{
	struct share_hold *hold;

	LIST_FOREACH (hold, &holder->holds, of_holder)
		if (hold->state == SHARE_LEFT) {
			struct share *share = hold->share;

			share_hold_free(hold);
			share_tidy(share);
			return;
		}
}

static int limit_of(struct holder *holder)
{
	if (holder->disconnects)
		return -ESHUTDOWN;
	if (holder->n_holds == SHARES_HELD_MAX)
		forget_one(holder);
	if (holder->n_holds == SHARES_HELD_MAX || holder->n_waiting == SHARES_WAITING_MAX)
		return -ENOBUFS;
	return 0;
}

/* Returns 0 if the request has been answered or will be. */
static int handle(struct holder *holder, struct share_request *request)
{
	enum share_permission permission;
	struct addr addr;
	int error = limit_of(holder);

	if (error < 0)
		return error;
	struct share *share = share_find(holder->shares, request);
	const struct addr *known = share && share->bound.fd >= 0 && request->text
					   ? &share->bound.addr
					   : address_of(request, &addr);
	permission = share_open_ask(holder, request,
				    request->kind == IPC_LISTEN_PORT ? known : NULL);
	if (permission == SHARE_REFUSED)
		return -EACCES;
	return share ? join(holder, share, request) : begin(holder, request, known, permission);
}

/* Requests count, so that an answer cannot be taken for another's. */
static bool is_known(const struct holder *holder, uint32_t request)
{
	return (int32_t)(holder->last_request - request) >= 0;
}

int shares_listen(struct holder *holder, const struct ipc_message *message)
{
	const struct ipc_listen *body = message->body;
	struct share_request request;
	int error;

	if (body->request != holder->last_request + 1)
		return -EPROTO;
	error = share_request_read(message, &request);
	if (error == -EPROTO)
		return error;

	holder->last_request = body->request;
	if (error == 0) {
		error = handle(holder, &request);
		share_request_done(&request);
	}
	if (error < 0)
		share_answer_refuse(holder, body->request, error, false);
	return 0;
}

int shares_serving(struct holder *holder, const struct ipc_message *message)
{
	const struct ipc_serving *body = message->body;
	const struct shares *shares = holder->shares;
	struct share_hold *hold = share_hold_find(holder, body->request);

	if (!is_known(holder, body->request))
		return -EPROTO;
	if (!hold || hold->state != SHARE_HELD || hold->serves)
		return 0;
	hold->serves = true;
	shares->ops->on_listening(holder, hold->share, shares->ctx);
	return 0;
}

static void leave(struct share_hold *hold, bool answered, uint32_t connections)
{
	struct share *share = hold->share;

	/* What is on its way is in use: bound anew now, its address would be. Whoever asks for it
	 * joins it. */
	if (hold->state == SHARE_HELD && !answered) {
		share_hold_set_state(hold, SHARE_GIVEN_UP);
		return;
	}
	share_hold_set_state(hold, SHARE_LEFT);
	hold->serves = false;
	hold->connections = connections;
	if (connections == 0)
		share_hold_free(hold);
	share_tidy(share);
}

int shares_unlisten(struct holder *holder, const struct ipc_message *message)
{
	const struct ipc_unlisten *body = message->body;
	struct share_hold *hold = share_hold_find(holder, body->request);

	if (!is_known(holder, body->request))
		return -EPROTO;
	if (hold)
		leave(hold, body->answered, body->connections);
	return 0;
}

int shares_counted(struct holder *holder, const struct ipc_counted_row *row)
{
	struct share_hold *hold;
	uint32_t left = row->connections;

	if (row->listener < IPC_SHARE_FIRST ||
	    row->listener - IPC_SHARE_FIRST > (holder->shares->last_id & ~IPC_SHARE_FIRST))
		return -EPROTO;
	/* It may have given one back, and got it again. */
	LIST_FOREACH (hold, &holder->holds, of_holder)
		if (hold->share->id == row->listener) {
			hold->connections = left;
			left = 0;
		}
	if (holder->taker)
		taker_set_connections(holder->taker, row->listener, row->connections);
	return 0;
}

const struct share *shares_of(const struct holder *holder, uint32_t id)
{
	const struct share_hold *hold;

	LIST_FOREACH (hold, &holder->holds, of_holder)
		if (hold->share->id == id && hold->state != SHARE_WAITS)
			return hold->share;
	return NULL;
}

/* --- from start to end ----------------------------------------------------------------------- */

void shares_init(struct shares *shares, struct ev_loop *loop, const struct rights *rights,
		 const struct shares_ops *ops, void *ctx)
{
	*shares = (struct shares){.loop = loop, .rights = rights, .ops = ops, .ctx = ctx};
	LIST_INIT(&shares->list);
}

void shares_done(struct shares *shares)
{
	struct share *share, *next;
	struct share_hold *hold;

	for (share = LIST_FIRST(&shares->list); share; share = next) {
		next = LIST_NEXT(share, link);
		while ((hold = TAILQ_FIRST(&share->holds)))
			share_hold_free(hold);
		share_tidy(share);
	}
}

void shares_hand_off(struct shares *shares, struct dispatcher *dispatcher, enum policy policy)
{
	shares->dispatcher = dispatcher;
	shares->policy = policy;
}

void holder_init(struct holder *holder, struct shares *shares, struct channel *channel,
		 struct taker *taker)
{
	*holder = (struct holder){.shares = shares, .channel = channel, .taker = taker};
	LIST_INIT(&holder->holds);
}

void shares_disconnect(struct holder *holder)
{
	struct share_hold *hold, *next;

	holder->disconnects = true;
	for (hold = LIST_FIRST(&holder->holds); hold; hold = next) {
		struct share *share = hold->share;

		next = LIST_NEXT(hold, of_holder);
		if (hold->state == SHARE_WAITS)
			share_answer_refuse_hold(hold, -ESHUTDOWN, false);
		else
			share_hold_set_state(hold, SHARE_LEFT);
		share_tidy(share);
	}
}

void shares_end(struct holder *holder)
{
	struct share_hold *hold;

	while ((hold = LIST_FIRST(&holder->holds))) {
		struct share *share = hold->share;

		share_hold_free(hold);
		share_tidy(share);
	}
}
