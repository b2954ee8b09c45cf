#include "common/cluster/cluster_worker.h"

#include <stdio.h>

#include "common/macros.h"

void cluster_worker_init(struct cluster_worker *w, const struct cluster_worker_end *end,
			 struct net_context *context)
{
	*w = (struct cluster_worker){.end = end, .context = context, .refs = 1};
	LIST_INIT(&w->sends);
}

void cluster_worker_done(struct cluster_worker *w)
{
	cluster_worker_free_mail(w);
	context_put(w->context);
}

static void on_free_turn(struct defer *call)
{
	struct cluster_worker *w = CONTAINER_OF(call, struct cluster_worker, free_call);

	w->end->free(w);
}

/* Inside a callback somebody further up may still look at it. */
static void free_if_unused(struct cluster_worker *w)
{
	if (w->refs == 0 && w->calling == 0 && !defer_waits(&w->free_call))
		defer_call(&w->context->calls, &w->free_call, on_free_turn);
}

void cluster_worker_enter(struct cluster_worker *w)
{
	w->calling++;
}

void cluster_worker_leave(struct cluster_worker *w)
{
	w->calling--;
	free_if_unused(w);
}

void cluster_worker_hold(struct cluster_worker *w)
{
	w->refs++;
}

void cluster_worker_release(struct cluster_worker *w)
{
	w->refs--;
	if (w->refs == 0 && w->calling == 0)
		w->end->free(w);
}

/* --- errors ---------------------------------------------------------------------------------- */

void cluster_worker_error(int code, const char *syscall_name, const char *what, char *text,
			  size_t size, struct net_error *ret)
{
	*ret = (struct net_error){.code = code, .syscall = syscall_name, .text = text};
	if (syscall_name)
		snprintf(text, size, "%s %s %s", syscall_name, net_error_name(code),
			 what ? what : "");
	else
		snprintf(text, size, "%s%s%s", net_error_message(code), what ? ": " : "",
			 what ? what : "");
}

/* --- what a user asks ------------------------------------------------------------------------ */

unsigned cluster_worker_id(const struct cluster_worker *w)
{
	return w->id;
}

pid_t cluster_worker_pid(const struct cluster_worker *w)
{
	return w->pid;
}

bool cluster_worker_is_connected(const struct cluster_worker *w)
{
	return w->connected;
}

bool cluster_worker_is_dead(const struct cluster_worker *w)
{
	return w->dead;
}

bool cluster_worker_exited_after_disconnect(const struct cluster_worker *w)
{
	return w->voluntary;
}

int cluster_worker_set_ops(struct cluster_worker *w, const struct cluster_worker_ops *ops,
			   void *ctx)
{
	return w->end->set_ops(w, ops, ctx);
}

int cluster_worker_disconnect(struct cluster_worker *w)
{
	return w->end->disconnect(w);
}

int cluster_worker_kill(struct cluster_worker *w, int signal)
{
	return w->end->kill(w, signal);
}
