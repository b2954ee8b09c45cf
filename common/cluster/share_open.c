#include "common/cluster/share_open.h"

#include <errno.h>

#include "common/cluster/share_answer.h"
#include "common/cluster/share_socket.h"
#include "common/net/lookup.h"

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
		share_answer_refuse_all(share, error, false);
		return;
	}
	accept_here(share);
	for (; hold; hold = next) {
		next = TAILQ_NEXT(hold, of_share);
		share_answer_grant(hold);
	}
	share_tidy(share);
}

enum share_permission share_open_ask(struct holder *holder, const struct share_request *request,
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
		enum share_permission one = share_open_ask(hold->holder, &share->request, addr);

		next = TAILQ_NEXT(hold, of_share);
		if (one == SHARE_REFUSED)
			share_answer_refuse_hold(hold, -EACCES, false);
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
		share_answer_refuse_all(share, status, true);
		return;
	}
	addr = *bind_choose(addresses, count);
	addr_set_port(&addr, share->request.port);
	judge_all(share, &addr);
}

void share_open_start(struct share *share, const struct addr *addr,
		      enum share_permission permission)
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
		share_answer_refuse_all(share, error, true);
}
