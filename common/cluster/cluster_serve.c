/* What the workers of a master listen on, and who gets what comes there. */
#include <errno.h>
#include <stdio.h>

#include "common/cluster/cluster_impl.h"
#include "common/macros.h"

/* --- what it listens on ---------------------------------------------------------------------- */

/* Who is the master's user may listen where the master may. */
static enum share_permission permit(struct holder *holder, const struct share_request *request,
				    const struct addr *addr, void *ctx)
{
	return SHARE_BY_ANYBODY;
}

/* The worker's server is told. */
static void on_refused(struct holder *holder, const struct share_request *request, int error,
		       void *ctx)
{
}

static void on_difference(struct holder *holder, const struct share_request *request,
			  const char *option, void *ctx)
{
}

static void on_listening(struct holder *holder, const struct share *share, void *ctx)
{
	CONTAINER_OF(holder, struct member, holder)->news = share;
}

/* Its end is told like any other. */
static void on_unreachable(struct holder *holder, int error, void *ctx)
{
	process_kill(&CONTAINER_OF(holder, struct member, holder)->process);
}

const struct shares_ops cluster_shares_ops = {
	.permit = permit,
	.on_refused = on_refused,
	.on_difference = on_difference,
	.on_listening = on_listening,
	.on_unreachable = on_unreachable,
};

/* Whoever is a bit late or short of something is so until it is not: there is nobody to tell. */
static void on_complaint(const struct taker *taker, const char *what, int error, void *ctx)
{
}

static void on_taker(const struct taker *taker, void *ctx)
{
}

static void on_dropped(size_t count, void *ctx)
{
}

/* Its end is told like any other. */
static void on_broke(struct taker *taker, void *ctx)
{
	process_kill(&CONTAINER_OF(taker, struct member, taker)->process);
}

const struct dispatch_ops cluster_dispatch_ops = {
	.complaint = on_complaint,
	.late = on_taker,
	.again = on_taker,
	.broke = on_broke,
	.dropped = on_dropped,
};

/* No call of shares' is under way any more. */
static void tell_listening(struct member *m)
{
	const struct share *share = m->news;
	struct cluster *c = m->cluster;
	struct cluster_listening listening = {.fd = share->bound.fd};
	char address[SHARE_TEXT_SIZE];

	m->news = NULL;
	if (!c->ops->on_listening)
		return;
	if (share->request.text) {
		snprintf(address, sizeof(address), "%s", share->request.text);
		listening.address = address;
	}
	listening.address_type = addr_family(&share->bound.addr);
	if (listening.address_type == 0)
		listening.address_type = -1;
	else
		listening.port = addr_port(&share->bound.addr);
	c->ops->on_listening(c, &m->worker, &listening, c->ctx);
}

int member_take_listen(struct member *m, const struct ipc_message *message)
{
	int error = -EPROTO;

	m->news = NULL;
	if (message->type == IPC_LISTEN)
		error = shares_listen(&m->holder, message);
	else if (message->type == IPC_SERVING)
		error = shares_serving(&m->holder, message);
	else if (message->type == IPC_UNLISTEN)
		error = shares_unlisten(&m->holder, message);
	else if (message->type == IPC_PROGRESS)
		error = dispatch_progress(&m->cluster->dispatcher, &m->taker, message);
	if (error == 0 && m->news)
		tell_listening(m);
	return error;
}

/* --- taking part ----------------------------------------------------------------------------- */

void member_init_shares(struct member *m)
{
	taker_init(&m->taker, m->worker.id, &m->process.channel);
	holder_init(&m->holder, &m->cluster->shares, &m->process.channel, &m->taker);
}

void member_add_taker(struct member *m)
{
	m->takes = true;
	dispatch_add_taker(&m->cluster->dispatcher, &m->taker);
}

/* Its process gets the memory in which it is to take connections. */
int member_join(struct member *m)
{
	AUTO_CLOSE int fd = -1;
	int error = handoff_open(&m->taker.handoff, &fd);

	if (error == 0)
		error = process_send(&m->process, IPC_CLAIMS, NULL, NULL, 0, &fd);
	if (error < 0 && error != -EPIPE)
		return error;
	m->taker.ready = true;
	return 0;
}

/* What it shares, and what was on its way to it, is for others now. */
void member_let_go(struct member *m)
{
	shares_end(&m->holder);
	if (!m->takes)
		return;
	m->takes = false;
	m->taker.ready = false;
	dispatch_remove_taker(&m->cluster->dispatcher, &m->taker);
}
