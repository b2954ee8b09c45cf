#include "common/net/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/lookup.h"

struct net_lookup {
	struct defer call;
	struct net_context *context;
	struct host_request request; /* host is owned */
	host_fn *done;
	void *ctx;
	struct lookup *system; /* under way */
	bool cancelled;
	bool told;

	/* What the user's function answered. */
	int status;
	size_t count;
	struct net_address *addresses;
};

static void question_free(struct net_lookup *question)
{
	context_put(question->context);
	free((char *)question->request.host);
	free(question->addresses);
	free(question);
}

/* Calls back, unless nobody waits any more, and ends. */
static void tell(struct net_lookup *question, int status, const struct addr *addresses,
		 size_t count)
{
	question->told = true;
	if (!question->cancelled)
		question->done(status, addresses, count, question->ctx);
	question_free(question);
}

/* --- the system ------------------------------------------------------------------------------ */

static void on_system_answer(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct net_lookup *question = ctx;

	question->system = NULL;
	tell(question, status, addresses, count);
}

static int ask_system(struct net_lookup *question)
{
	const struct resolve_request request = {.host = question->request.host,
						.family = question->request.family,
						.hints = question->request.hints,
						.port = question->request.port};

	return lookup_start(question->context->loop, &request, on_system_answer, question,
			    &question->system);
}

/* --- a user's function ----------------------------------------------------------------------- */

static int read_address(const struct net_lookup *question, const struct net_address *given,
			struct addr *ret)
{
	if (!memchr(given->address, '\0', sizeof(given->address)) ||
	    addr_parse(given->address, question->request.port, ret) < 0)
		return NET_ERR_INVALID_IP_ADDRESS;
	return given->family == addr_family(ret) ? 0 : NET_ERR_INVALID_ADDRESS_FAMILY;
}

static int read_answer(const struct net_lookup *question, struct addr *addresses)
{
	if (question->status < 0)
		return question->status;
	if (question->count == 0)
		return NET_ERR_NOT_FOUND;

	for (size_t i = 0; i < question->count; i++) {
		int r = read_address(question, &question->addresses[i], &addresses[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static void on_reply_turn(struct defer *call)
{
	struct net_lookup *question = CONTAINER_OF(call, struct net_lookup, call);
	struct addr addresses[HOST_ADDRESSES_MAX];
	int status = read_answer(question, addresses);

	tell(question, status, addresses, status == 0 ? question->count : 0);
}

void net_lookup_reply(struct net_lookup *question, int status, const struct net_address *addresses,
		      size_t count)
{
	question->status = status > 0 ? -status : status;
	if (question->status == 0 && count > 0) {
		question->count = count < HOST_ADDRESSES_MAX ? count : HOST_ADDRESSES_MAX;
		question->addresses = calloc(question->count, sizeof(*addresses));
		if (question->addresses)
			memcpy(question->addresses, addresses,
			       question->count * sizeof(*addresses));
		else
			question->status = -ENOMEM;
	}
	defer_call(&question->context->calls, &question->call, on_reply_turn);
}

static void on_ask_turn(struct defer *call)
{
	struct net_lookup *question = CONTAINER_OF(call, struct net_lookup, call);
	const struct host_request *request = &question->request;
	int r;

	if (question->cancelled) {
		question_free(question);
		return;
	}

	r = request->lookup(question, request->host, request->family, request->hints,
			    request->lookup_ctx);
	if (r != 0)
		net_lookup_reply(question, r, NULL, 0);
}

/* --- both ------------------------------------------------------------------------------------ */

static int question_new(struct net_context *context, const struct host_request *request,
			struct net_lookup **ret)
{
	struct net_lookup *question = calloc(1, sizeof(*question));

	if (!question)
		return -ENOMEM;

	question->request = *request;
	question->request.host = strdup(request->host);
	if (!question->request.host) {
		free(question);
		return -ENOMEM;
	}

	question->context = context;
	context_hold(context);
	*ret = question;
	return 0;
}

int host_ask(struct net_context *context, const struct host_request *request, host_fn *done,
	     void *ctx, struct net_lookup **ret)
{
	struct net_lookup *question;
	int r = question_new(context, request, &question);

	if (r < 0)
		return r;

	question->done = done;
	question->ctx = ctx;
	if (request->lookup)
		defer_call(&context->calls, &question->call, on_ask_turn);
	else
		r = ask_system(question);
	if (r < 0) {
		question_free(question);
		return r;
	}

	*ret = question;
	return 0;
}

void host_cancel(struct net_lookup *question)
{
	if (!question || question->told)
		return;

	question->cancelled = true;
	if (question->system) {
		lookup_cancel(question->system);
		question_free(question);
	}
}
