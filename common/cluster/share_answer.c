#include "common/cluster/share_answer.h"

#include <string.h>

#include "common/cluster/shares.h"

static void check_sent(struct holder *holder, int error)
{
	const struct shares *shares = holder->shares;

	if (error < 0)
		shares->ops->on_unreachable(holder, error, shares->ctx);
}

void share_answer_refuse(struct holder *holder, uint32_t request, int error, bool of_lookup)
{
	const struct ipc_not_listened body = {
		.request = request,
		.error = (uint32_t)error,
		.of_lookup = of_lookup,
	};

	check_sent(holder, channel_tell(holder->channel, IPC_NOT_LISTENED, &body, NULL, 0, NULL));
}

void share_answer_refuse_hold(struct share_hold *hold, int error, bool of_lookup)
{
	share_answer_refuse(hold->holder, hold->request, error, of_lookup);
	share_hold_free(hold);
}

void share_answer_refuse_all(struct share *share, int error, bool of_lookup)
{
	struct share_hold *hold;

	while ((hold = TAILQ_FIRST(&share->holds)))
		share_answer_refuse_hold(hold, error, of_lookup);
	share_tidy(share);
}

/* Returns 0 or why the socket cannot be sent. */
static int send_socket(struct share_hold *hold)
{
	const struct share *share = hold->share;
	const struct ipc_listened body = {
		.request = hold->request,
		.listener = share->id,
		.backlog = share->request.kind == IPC_LISTEN_PATH ? (uint32_t)share->request.backlog
								  : 0,
	};

	return channel_tell(hold->holder->channel, IPC_LISTENED, &body, NULL, 0, &share->bound.fd);
}

/* That descriptors are short here is no fault of the worker's: it hears of it. */
static void grant_socket(struct share_hold *hold)
{
	int error = send_socket(hold);

	if (error < 0)
		share_answer_refuse_hold(hold, error, false);
	else
		share_hold_set_state(hold, SHARE_HELD);
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
	check_sent(hold->holder, channel_tell(hold->holder->channel, IPC_LISTENED_APART, &body,
					      &address, 1, NULL));
}

void share_answer_grant(struct share_hold *hold)
{
	struct share *share = hold->share;
	int error;

	if (share->source.policy == POLICY_NONE) {
		grant_socket(hold);
		return;
	}
	error = taker_join(hold->holder->taker, share->id);
	if (error < 0) {
		share_answer_refuse_hold(hold, error, false);
		return;
	}
	grant_connections(hold);
	dispatch_update(share->shares->dispatcher);
}
