#include "common/cluster/cluster.h"

#include <ev.h>
#include <signal.h>

#include "common/cluster/cluster_impl.h"
#include "common/macros.h"

/* Somebody who waits until every worker is disconnected. */
struct cluster_goodbye {
	TAILQ_ENTRY(cluster_goodbye) link;
	struct defer call;
	struct cluster *cluster; /* NULL: it was freed */
	cluster_fn *fn;
	void *ctx;
	struct net_context *context; /* held once it is due; NULL: it is not */
};

/* --- its life -------------------------------------------------------------------------------- */

int cluster_setup_master(struct ev_loop *loop, const struct cluster_settings *settings,
			 const struct cluster_ops *ops, void *ctx, struct cluster **ret)
{
	static const struct cluster_ops none;
	struct cluster *c;
	int error;

	/* No other loop is told when a process ends. */
	if (!ev_is_default_loop(loop))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = ops ? ops : &none;
	c->ctx = ctx;
	TAILQ_INIT(&c->members);
	TAILQ_INIT(&c->goodbyes);

	error = context_get(loop, &c->context);
	if (error == 0)
		error = cluster_setup_init(&c->setup, settings);
	if (error < 0) {
		if (c->context)
			context_put(c->context);
		free(c);
		return error;
	}
	dispatch_init(&c->dispatcher, loop, &cluster_dispatch_ops, c);
	shares_init(&c->shares, loop, NULL, &cluster_shares_ops, c);
	*ret = c;
	return 0;
}

int cluster_set_settings(struct cluster *c, const struct cluster_settings *settings)
{
	struct cluster_setup setup;
	int error = cluster_setup_init(&setup, settings);

	if (error == 0 && c->last_id > 0 && setup.scheduling_policy != c->setup.scheduling_policy) {
		cluster_setup_done(&setup);
		error = -EBUSY;
	}
	if (error < 0)
		return error;
	cluster_setup_done(&c->setup);
	c->setup = setup;
	return 0;
}

void cluster_free(struct cluster *c)
{
	struct cluster_goodbye *goodbye;
	struct member *m;

	if (!c)
		return;
	while ((m = TAILQ_FIRST(&c->members))) {
		TAILQ_REMOVE(&c->members, m, link);
		member_orphan(m);
	}
	while ((goodbye = TAILQ_FIRST(&c->goodbyes))) {
		TAILQ_REMOVE(&c->goodbyes, goodbye, link);
		goodbye->cluster = NULL;
		if (!goodbye->context)
			free(goodbye);
	}
	shares_done(&c->shares);
	dispatch_done(&c->dispatcher);
	cluster_setup_done(&c->setup);
	context_put(c->context);
	free(c);
}

/* --- workers --------------------------------------------------------------------------------- */

/* From the first fork on it is so. */
static void set_policy(struct cluster *c)
{
	static const enum policy policies[] = {
		[CLUSTER_SCHED_NONE] = POLICY_NONE,
		[CLUSTER_SCHED_RR] = POLICY_ROUND_ROBIN,
		[CLUSTER_SCHED_LEAST_CONNECTIONS] = POLICY_LEAST_CONNECTIONS,
		[CLUSTER_SCHED_SOURCE_HASH] = POLICY_SOURCE_HASH,
	};
	enum policy policy = policies[c->setup.scheduling_policy];

	if (c->last_id == 0 && policy != POLICY_NONE)
		shares_hand_off(&c->shares, &c->dispatcher, policy);
}

int cluster_fork(struct cluster *c, const char *const *env, struct cluster_worker **ret)
{
	struct member *m;
	int error = member_fork(c, c->context, &c->setup, env, c->last_id + 1, &m);

	if (error < 0)
		return error;
	set_policy(c);
	c->last_id++;
	TAILQ_INSERT_TAIL(&c->members, m, link);
	if (ret)
		*ret = &m->worker;
	return 0;
}

struct cluster_worker *cluster_next_worker(struct cluster *c, struct cluster_worker *previous)
{
	struct member *m = TAILQ_FIRST(&c->members);

	while (m && previous && m->worker.id <= previous->id)
		m = TAILQ_NEXT(m, link);
	while (m && !m->listed)
		m = TAILQ_NEXT(m, link);
	return m ? &m->worker : NULL;
}

void *cluster_ctx(const struct cluster *c)
{
	return c->ctx;
}

/* --- disconnecting all ----------------------------------------------------------------------- */

static void on_goodbye_turn(struct defer *call)
{
	struct cluster_goodbye *goodbye = CONTAINER_OF(call, struct cluster_goodbye, call);
	struct net_context *context = goodbye->context;

	if (goodbye->cluster) {
		TAILQ_REMOVE(&goodbye->cluster->goodbyes, goodbye, link);
		if (goodbye->fn)
			goodbye->fn(goodbye->cluster, goodbye->ctx);
	}
	free(goodbye);
	context_put(context);
}

static bool somebody_is_connected(const struct cluster *c)
{
	const struct member *m;

	TAILQ_FOREACH (m, &c->members, link)
		if (!m->disconnected)
			return true;
	return false;
}

void cluster_disconnected(struct cluster *c)
{
	struct cluster_goodbye *goodbye;

	if (somebody_is_connected(c))
		return;
	TAILQ_FOREACH (goodbye, &c->goodbyes, link) {
		if (goodbye->context)
			continue;
		goodbye->context = c->context;
		context_hold(c->context);
		defer_call(&c->context->calls, &goodbye->call, on_goodbye_turn);
	}
}

int cluster_disconnect(struct cluster *c, cluster_fn *disconnected, void *ctx)
{
	struct cluster_goodbye *goodbye = calloc(1, sizeof(*goodbye));
	struct member *m;

	if (!goodbye)
		return -ENOMEM;
	goodbye->cluster = c;
	goodbye->fn = disconnected;
	goodbye->ctx = ctx;
	TAILQ_INSERT_TAIL(&c->goodbyes, goodbye, link);
	TAILQ_FOREACH (m, &c->members, link)
		member_disconnect(m);
	cluster_disconnected(c);
	return 0;
}
