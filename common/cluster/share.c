#include "common/cluster/share.h"

#include "common/cluster/share_socket.h"
#include "common/cluster/shares.h"
#include "common/macros.h"
#include "common/net/lookup.h"

/* --- what a share is ------------------------------------------------------------------------- */

static struct share *find_by_id(struct shares *shares, uint32_t id)
{
	struct share *share;

	LIST_FOREACH (share, &shares->list, link)
		if (share->id == id)
			return share;
	return NULL;
}

struct share *share_find(struct shares *shares, const struct share_request *request)
{
	struct share *share;

	LIST_FOREACH (share, &shares->list, link)
		if (!share->is_closed && share_request_equal(&share->request, request))
			return share;
	return NULL;
}

/* The request's text becomes the share's. */
struct share *share_new(struct shares *shares, struct share_request *request)
{
	struct share *share = calloc(1, sizeof(*share));

	if (!share)
		return NULL;
	do
		share->id = ++shares->last_id | IPC_SHARE_FIRST;
	while (find_by_id(shares, share->id));
	share->shares = shares;
	share->request = *request;
	request->text = NULL;
	share->bound.fd = -1;
	TAILQ_INIT(&share->holds);
	LIST_INSERT_HEAD(&shares->list, share, link);
	return share;
}

static void share_close(struct share *share)
{
	share->is_closed = true;
	if (share->source.policy != POLICY_NONE)
		dispatch_remove_source(share->shares->dispatcher, &share->source);
	share->source.policy = POLICY_NONE;
	lookup_cancel(share->lookup);
	share->lookup = NULL;
	share_socket_close(&share->bound, share->shares->rights);
}

static void share_free(struct share *share)
{
	LIST_REMOVE(share, link);
	share_request_done(&share->request);
	free(share);
}

static bool is_held(const struct share *share)
{
	const struct share_hold *hold;

	TAILQ_FOREACH (hold, &share->holds, of_share)
		if (hold->state != SHARE_LEFT)
			return true;
	return false;
}

/* What nobody holds is closed, and what nobody counts is forgotten. */
void share_tidy(struct share *share)
{
	if (!share->is_closed && !is_held(share))
		share_close(share);
	if (TAILQ_EMPTY(&share->holds))
		share_free(share);
}

/* --- who has it ------------------------------------------------------------------------------ */

struct share_hold *share_hold_find(struct holder *holder, uint32_t request)
{
	struct share_hold *hold;

	LIST_FOREACH (hold, &holder->holds, of_holder)
		if (hold->request == request)
			return hold;
	return NULL;
}

bool share_hold_exists(const struct holder *holder, const struct share *share)
{
	const struct share_hold *hold;

	TAILQ_FOREACH (hold, &share->holds, of_share)
		if (hold->holder == holder &&
		    (hold->state == SHARE_WAITS || hold->state == SHARE_HELD))
			return true;
	return false;
}

void share_hold_set_state(struct share_hold *hold, enum share_hold_state state)
{
	struct taker *taker = hold->holder->taker;

	if (taker && hold->state == SHARE_HELD && state != SHARE_HELD)
		taker_leave(taker, hold->share->id);
	hold->holder->n_waiting -= hold->state == SHARE_WAITS;
	hold->state = state;
	hold->holder->n_waiting += hold->state == SHARE_WAITS;
}

int share_hold_new(struct holder *holder, struct share *share, uint32_t request)
{
	struct share_hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return -ENOMEM;
	hold->holder = holder;
	hold->share = share;
	hold->request = request;
	hold->state = SHARE_WAITS;
	holder->n_holds++;
	holder->n_waiting++;
	LIST_INSERT_HEAD(&holder->holds, hold, of_holder);
	TAILQ_INSERT_TAIL(&share->holds, hold, of_share);
	return 0;
}

void share_hold_free(struct share_hold *hold)
{
	share_hold_set_state(hold, SHARE_LEFT);
	hold->holder->n_holds--;
	LIST_REMOVE(hold, of_holder);
	TAILQ_REMOVE(&hold->share->holds, hold, of_share);
	free(hold);
}

void share_format(const struct share *share, char *text, size_t size)
{
	if (share->request.kind == IPC_LISTEN_PATH)
		share_request_format(&share->request, text, size);
	else
		addr_format(&share->bound.addr, text, size);
}
