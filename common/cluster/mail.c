#include "common/cluster/mail.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/cluster/mail_parts.h"
#include "common/macros.h"

void mail_hold(struct mail *mail)
{
	mail->refs++;
}

void mail_release(struct mail *mail)
{
	struct net_context *context = mail->context;

	if (--mail->refs > 0)
		return;
	free(mail);
	context_put(context);
}

static void on_drained(struct channel *channel, void *ctx)
{
	struct mail *mail = ctx;

	mail_hold(mail);
	tracking_drained(&mail->tracking);
	in_tell_room(mail);
	out_pump(mail);
	mail_release(mail);
}

int mail_open(struct ev_loop *loop, struct channel *channel, const struct mail_ops *ops, void *ctx,
	      struct mail **ret)
{
	struct mail *mail = calloc(1, sizeof(*mail));
	int r = mail ? context_get(loop, &mail->context) : -ENOMEM;

	if (r < 0) {
		free(mail);
		return r;
	}

	mail->channel = channel;
	mail->ops = ops;
	mail->ctx = ctx;
	mail->refs = 1;
	out_init(mail);
	in_init(mail);
	tracking_init(&mail->tracking, channel, mail->context);
	channel_when_drained(channel, on_drained, mail);
	mail_settle(mail);
	*ret = mail;
	return 0;
}

void mail_receive(struct mail *mail, bool wanted)
{
	assert(!wanted || mail->ops->on_message);
	in_want(mail, wanted);
	mail_settle(mail);
}

/* --- the end --------------------------------------------------------------------------------- */

static void on_flush_turn(struct defer *call)
{
	struct mail *mail = CONTAINER_OF(call, struct mail, flush_call);
	mail_done_fn *flushed = mail->flushed;
	int status = STAILQ_EMPTY(&mail->out.letters) && !mail->closed ? 0
								       : NET_ERR_IPC_CHANNEL_CLOSED;

	mail->flushed = NULL;
	if (flushed && !mail->freed)
		flushed(mail, status, mail->flushed_ctx);
	mail_release(mail);
}

static bool is_flushed(const struct mail *mail)
{
	return mail->closed ||
	       (STAILQ_EMPTY(&mail->out.letters) && channel_is_drained(mail->channel));
}

void mail_settle(struct mail *mail)
{
	if (mail->flushed && is_flushed(mail) && !defer_waits(&mail->flush_call)) {
		mail_hold(mail);
		defer_call(&mail->context->calls, &mail->flush_call, on_flush_turn);
	}
	if (mail->closed)
		return;
	if (mail->in.wanted || mail->flushed || !STAILQ_EMPTY(&mail->out.letters))
		channel_ref(mail->channel);
	else
		channel_unref(mail->channel);
}

int mail_end(struct mail *mail, mail_done_fn *flushed, void *ctx)
{
	if (mail->ended || mail->closed)
		return NET_ERR_IPC_DISCONNECTED;
	mail->ended = true;
	mail->flushed = flushed;
	mail->flushed_ctx = ctx;
	mail_settle(mail);
	return 0;
}

void mail_close(struct mail *mail)
{
	if (mail->closed)
		return;
	mail->closed = true;
	channel_when_drained(mail->channel, NULL, NULL);
	tracking_close(&mail->tracking);
	out_close(mail);
	in_close(mail);
	mail_settle(mail);
	mail->channel = NULL;
}

void mail_free(struct mail *mail)
{
	if (!mail)
		return;
	mail->freed = true;
	mail_close(mail);
	in_drop_kept(mail);
	mail_release(mail);
}

/* --- what comes ------------------------------------------------------------------------------ */

bool mail_is_ours(enum ipc_type type)
{
	return type >= IPC_MAIL && type <= IPC_SOCKETS_CLOSED;
}

static int take(struct mail *mail, struct ipc_message *message, const char **ret_why)
{
	if (message->type == IPC_MAIL)
		return in_piece(mail, message, ret_why);
	if (message->type == IPC_HANDLE)
		return in_handle(mail, message, ret_why);
	if (message->type == IPC_TAKEN)
		return out_credit(mail, message->body, ret_why);
	if (message->type != IPC_ANSWERED)
		return tracking_take(&mail->tracking, message, ret_why);
	flight_answered(mail, message->body);
	return 0;
}

int mail_take(struct mail *mail, struct ipc_message *message, const char **ret_why)
{
	int r;

	if (mail->closed)
		return 0;
	mail_hold(mail);
	r = take(mail, message, ret_why);
	mail_settle(mail);
	mail_release(mail);
	return r;
}
