/* What users send each other, between mail and the worker's object. */
#include <errno.h>
#include <stdlib.h>

#include "common/cluster/cluster_worker.h"

/* A completion to come. */
struct cluster_sent {
	LIST_ENTRY(cluster_sent) link;
	struct cluster_worker *worker;
	cluster_sent_fn *fn;
	void *ctx;
};

static void on_message(struct mail *mail, const struct mail_message *mailed, void *ctx)
{
	struct cluster_worker *w = ctx;
	const struct cluster_message message = {
		.data = mailed->data,
		.size = mailed->size,
		.server = mailed->server,
		.socket = mailed->socket,
	};

	cluster_worker_enter(w);
	w->end->tell_message(w, &message);
	cluster_worker_leave(w);
}

static void on_error(struct mail *mail, int status, void *ctx)
{
	struct cluster_worker *w = ctx;

	cluster_worker_enter(w);
	w->end->tell_error(w, status);
	cluster_worker_leave(w);
}

static const struct mail_ops mail_ops = {.on_message = on_message, .on_error = on_error};

int cluster_worker_open_mail(struct cluster_worker *w, struct channel *channel)
{
	return mail_open(w->context->loop, channel, &mail_ops, w, &w->mail);
}

void cluster_worker_close_mail(struct cluster_worker *w)
{
	if (w->mail)
		mail_close(w->mail);
}

void cluster_worker_free_mail(struct cluster_worker *w)
{
	struct cluster_sent *sent;

	mail_free(w->mail);
	w->mail = NULL;
	while ((sent = LIST_FIRST(&w->sends))) {
		LIST_REMOVE(sent, link);
		free(sent);
	}
}

static void on_sent(struct mail *mail, int status, void *ctx)
{
	struct cluster_sent *sent = ctx;
	struct cluster_worker *w = sent->worker;
	cluster_sent_fn *fn = sent->fn;
	void *sent_ctx = sent->ctx;

	LIST_REMOVE(sent, link);
	free(sent);
	cluster_worker_enter(w);
	fn(w, status, sent_ctx);
	cluster_worker_leave(w);
}

static int sent_new(struct cluster_worker *w, cluster_sent_fn *fn, void *ctx,
		    struct cluster_sent **ret)
{
	struct cluster_sent *sent = malloc(sizeof(*sent));

	if (!sent)
		return -ENOMEM;
	*sent = (struct cluster_sent){.worker = w, .fn = fn, .ctx = ctx};
	LIST_INSERT_HEAD(&w->sends, sent, link);
	*ret = sent;
	return 0;
}

int cluster_worker_send(struct cluster_worker *w, const void *data, size_t size,
			const struct cluster_send_options *options, cluster_sent_fn *fn, void *ctx)
{
	struct mail_handle handle = {0};
	struct cluster_sent *sent = NULL;
	int r;

	if (!w->connected)
		return NET_ERR_IPC_CHANNEL_CLOSED;
	if (options)
		handle = (struct mail_handle){.server = options->server,
					      .socket = options->socket,
					      .keep_open = options->keep_open};
	r = fn ? sent_new(w, fn, ctx, &sent) : 0;
	if (r < 0)
		return r;
	r = mail_send(w->mail, data, size, options ? &handle : NULL, fn ? on_sent : NULL, sent);
	if (r < 0 && sent) {
		LIST_REMOVE(sent, link);
		free(sent);
	}
	return r;
}
