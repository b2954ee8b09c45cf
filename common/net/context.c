#include "common/net/context.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/net/decoder.h"

static SLIST_HEAD(, net_context) contexts = SLIST_HEAD_INITIALIZER(contexts);
static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
	pthread_mutex_lock(&contexts_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&contexts_lock);
}

static void after_fork_in_child(void)
{
	struct net_context *context;

	SLIST_FOREACH (context, &contexts, link) {
		context->forked = true;
		context->forked_at = ev_iteration(context->loop);
	}
	pthread_mutex_unlock(&contexts_lock);
}

/* Once, with the first context. */
static int watch_forks(void)
{
	static bool watched;

	if (!watched && pthread_atfork(before_fork, after_fork, after_fork_in_child) != 0)
		return -ENOMEM;
	watched = true;
	return 0;
}

bool context_has_parents_set(struct net_context *context)
{
	if (context->forked && ev_iteration(context->loop) != context->forked_at) {
		context->forked = false;
		context->set = -1;
	}
	return context->forked;
}

static struct net_context *find(struct ev_loop *loop)
{
	struct net_context *context;

	SLIST_FOREACH (context, &contexts, link)
		if (context->loop == loop)
			return context;
	return NULL;
}

static struct net_context *make(struct ev_loop *loop)
{
	struct net_context *context = watch_forks() == 0 ? malloc(sizeof(*context)) : NULL;

	if (!context)
		return NULL;

	context->loop = loop;
	context->set = -1;
	context->forked = false;
	context->forked_at = 0;
	context->refs = 0;
	context->last_us = 0;
	context->text = NULL;
	context->provider = NULL;
	context->provider_ctx = NULL;
	context->keeper = NULL;
	context->keeper_ctx = NULL;
	defer_init(&context->calls, loop);
	SLIST_INSERT_HEAD(&contexts, context, link);
	return context;
}

int context_get(struct ev_loop *loop, struct net_context **ret)
{
	struct net_context *context;

	pthread_mutex_lock(&contexts_lock);
	context = find(loop);
	if (!context)
		context = make(loop);
	if (context)
		context->refs++;
	pthread_mutex_unlock(&contexts_lock);

	if (!context)
		return -ENOMEM;
	*ret = context;
	return 0;
}

void context_hold(struct net_context *context)
{
	context->refs++;
}

void context_put(struct net_context *context)
{
	if (--context->refs > 0)
		return;

	pthread_mutex_lock(&contexts_lock);
	SLIST_REMOVE(&contexts, context, net_context, link);
	pthread_mutex_unlock(&contexts_lock);
	defer_done(&context->calls);
	free(context->text);
	free(context);
}

int context_need_text(struct net_context *context)
{
	if (!context->text)
		context->text = malloc(DECODER_TEXT_SIZE(CONTEXT_BUFFER_SIZE));
	return context->text ? 0 : -ENOMEM;
}

uint64_t context_now_us(struct net_context *context)
{
	struct timespec now;
	uint64_t us;

	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	context->last_us = us > context->last_us ? us : context->last_us + 1;
	return context->last_us;
}

void context_set_listen_provider(struct net_context *context,
				 const struct listen_provider *provider, void *ctx)
{
	context->provider = provider;
	context->provider_ctx = ctx;
}

void context_give_back(struct net_context *context, struct net_server *server, unsigned ticket)
{
	if (context->provider)
		context->provider->close(context->provider_ctx, server, ticket);
}

void context_set_copy_keeper(struct net_context *context, const struct copy_keeper *keeper,
			     void *ctx)
{
	context->keeper = keeper;
	context->keeper_ctx = ctx;
}

bool context_may_be_copied(const struct net_context *context, int fd)
{
	return !context->keeper || context->keeper->has(context->keeper_ctx, fd);
}

bool context_lingers(const struct net_context *context, int fd)
{
	return context->keeper && context->keeper->lingers &&
	       context->keeper->lingers(context->keeper_ctx, fd);
}

bool context_closing(struct net_context *context, int fd, bool ended)
{
	return context->keeper && context->keeper->closing(context->keeper_ctx, fd, ended);
}

void context_tell_drained(struct net_context *context, struct net_server *server)
{
	if (context->provider && context->provider->drained)
		context->provider->drained(context->provider_ctx, server);
}
