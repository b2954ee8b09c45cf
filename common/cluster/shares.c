#include "common/cluster/shares.h"

#include <errno.h>
#include <string.h>

#include "common/cluster/share_socket.h"
#include "common/net/lookup.h"

/* --- answering ------------------------------------------------------------------------------- */

static void check_sent(struct holder *holder, int error)
{
	const struct shares *shares = holder->shares;

	/* One that has gone is seen by the reading side. */
	if (error < 0 && error != -EPIPE)
		shares->ops->on_unreachable(holder, error, shares->ctx);
}

static void refuse(struct holder *holder, uint32_t request, int error, bool of_lookup)
{
	const struct ipc_not_listened body = {
		.request = request,
		.error = (uint32_t)error,
		.of_lookup = of_lookup,
	};

	check_sent(holder, channel_send(holder->channel, IPC_NOT_LISTENED, &body, NULL, 0, NULL));
}

static void refuse_hold(struct share_hold *hold, int error, bool of_lookup)
{
	refuse(hold->holder, hold->request, error, of_lookup);
	share_hold_free(hold);
}

/* The error of one attempt is nobody else's. */
static void refuse_all(struct share *share, int error, bool of_lookup)
{
	struct share_hold *hold;

	while ((hold = TAILQ_FIRST(&share->holds)))
		refuse_hold(hold, error, of_lookup);
	share_tidy(share);
}

static void grant_socket(struct share_hold *hold)
{
	const struct share *share = hold->share;
	const struct ipc_listened body = {
		.request = hold->request,
		.listener = share->id,
		.backlog = share->request.kind == IPC_LISTEN_PATH ? (uint32_t)share->request.backlog
								  : 0,
	};

	share_hold_set_state(hold, SHARE_HELD);
	check_sent(hold->holder, channel_send(hold->holder->channel, IPC_LISTENED, &body, NULL, 0,
					      &share->bound.fd));
}

static void grant_connections(struct share_hold *hold)
{
	const struct share *share = hold->share;
	const struct ipc_listened_apart body = {
		.request = hold->request,
		.listener = share->id,
		.tell_connections = share->source.policy == POLICY_LEAST_CONNECTIONS,
	};
	struct ipc_peer address = {.size = share->bound.addr.len};

	memcpy(address.address, &share->bound.addr.sa, share->bound.addr.len);
	hold->holder->taker->handoff.by_message |= body.tell_connections;
	share_hold_set_state(hold, SHARE_HELD);
	check_sent(hold->holder, channel_send(hold->holder->channel, IPC_LISTENED_APART, &body,
					      &address, 1, NULL));
}

/* The hold is gone if that cannot be. */
static void grant(struct share_hold *hold)
{
	struct share *share = hold->share;
	int error;

	if (share->source.policy == POLICY_NONE) {
		grant_socket(hold);
		return;
	}
	error = taker_join(hold->holder->taker, share->id);
	if (error < 0) {
		refuse_hold(hold, error, false);
		return;
	}
	grant_connections(hold);
	dispatch_update(share->shares->dispatcher);
}

/* --- opening --------------------------------------------------------------------------------- */

/* Only a port can be granted to whom it does not belong: where a path leads, its folders decide. */
static const struct rights *rights_for(const struct share *share, enum share_permission permission)
{
	bool by_worker = permission == SHARE_BY_WORKER || share->request.kind == IPC_LISTEN_PATH;

	return by_worker ? share->shares->rights : NULL;
}

static bool may_not(int error)
{
	return error == -EACCES || error == -EPERM;
}

static void tell_refused(struct holder *holder, const struct share_request *request, int error)
{
	const struct shares *shares = holder->shares;

	shares->ops->on_refused(holder, request, error, shares->ctx);
}

static void accept_here(struct share *share)
{
	struct shares *shares = share->shares;

	if (shares->policy == POLICY_NONE)
		return;
	share->source = (struct source){
		.id = share->id, .fd = share->bound.fd, .policy = shares->policy};
	dispatch_add_source(shares->dispatcher, &share->source);
}

static void open_share(struct share *share, const struct addr *addr,
		       enum share_permission permission)
{
	struct share_hold *hold = TAILQ_FIRST(&share->holds), *next;
	int error = share_socket_open(&share->request, addr, rights_for(share, permission),
				      share->shares->policy != POLICY_NONE, &share->bound);

	if (error < 0) {
		share->bound.fd = -1;
		if (may_not(error))
			tell_refused(hold->holder, &share->request, error);
		refuse_all(share, error, false);
		return;
	}
	accept_here(share);
	for (; hold; hold = next) {
		next = TAILQ_NEXT(hold, of_share);
		grant(hold);
	}
	share_tidy(share);
}

static enum share_permission ask(struct holder *holder, const struct share_request *request,
				 const struct addr *addr)
{
	const struct shares *shares = holder->shares;
	enum share_permission permission = shares->ops->permit(holder, request, addr, shares->ctx);

	if (permission == SHARE_REFUSED)
		tell_refused(holder, request, -EACCES);
	return permission;
}

/* The address is known now, and somebody may not have it. */
static void judge_all(struct share *share, const struct addr *addr)
{
	enum share_permission permission = SHARE_REFUSED;
	struct share_hold *hold, *next;

	for (hold = TAILQ_FIRST(&share->holds); hold; hold = next) {
		enum share_permission one = ask(hold->holder, &share->request, addr);

		next = TAILQ_NEXT(hold, of_share);
		if (one == SHARE_REFUSED)
			refuse_hold(hold, -EACCES, false);
		else if (permission == SHARE_REFUSED)
			permission = one;
	}
	if (TAILQ_EMPTY(&share->holds))
		share_tidy(share);
	else
		open_share(share, addr, permission);
}

static void on_looked_up(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct share *share = ctx;
	struct addr addr;

	share->lookup = NULL;
	if (status < 0) {
		refuse_all(share, status, true);
		return;
	}
	addr = *bind_choose(addresses, count);
	addr_set_port(&addr, share->request.port);
	judge_all(share, &addr);
}

/* Answers now, or when the name is known. */
static void start(struct share *share, const struct addr *addr, enum share_permission permission)
{
	const struct share_request *request = &share->request;
	const struct resolve_request question = {.host = request->text, .port = request->port};
	int error;

	if (request->kind != IPC_LISTEN_PORT || !request->text || addr) {
		open_share(share, addr, permission);
		return;
	}
	error = lookup_start(share->shares->loop, &question, on_looked_up, share, &share->lookup);
	if (error < 0)
		refuse_all(share, error, true);
}

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
		grant(share_hold_find(holder, request->number));
	return error;
}

static int begin(struct holder *holder, struct share_request *request, const struct addr *addr,
		 enum share_permission permission)
{
	struct share *share = share_new(holder->shares, request);
	int error = share ? share_hold_new(holder, share, request->number) : -ENOMEM;

	if (error == 0)
		start(share, addr, permission);
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
	permission = ask(holder, request, request->kind == IPC_LISTEN_PORT ? known : NULL);
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
		refuse(holder, body->request, error, false);
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

static void leave(struct share_hold *hold, uint32_t connections)
{
	struct share *share = hold->share;

	/* Bound anew now, its address would be in use. Whoever asks for it joins it. */
	if (hold->state == SHARE_HELD && !hold->serves) {
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
		leave(hold, body->connections);
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
			refuse_hold(hold, -ESHUTDOWN, false);
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
