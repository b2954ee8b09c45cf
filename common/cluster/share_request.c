#include "common/cluster/share_request.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"

#define FLAGS (IPC_LISTEN_IPV6_ONLY | IPC_LISTEN_READABLE_ALL | IPC_LISTEN_WRITABLE_ALL)

/* --- reading --------------------------------------------------------------------------------- */

/* Whether the fields are what a worker of ours would say. Whether it makes sense is seen later. */
static bool is_sound(const struct ipc_listen *body, const char *text, size_t size)
{
	if (body->backlog > INT_MAX || body->flags & ~FLAGS || memchr(text, '\0', size))
		return false;

	switch (body->kind) {
	case IPC_LISTEN_PORT:
		return body->port <= UINT16_MAX && size <= SHARE_HOST_MAX;
	case IPC_LISTEN_PATH:
		return size > 1 && size < PATH_MAX && (text[0] == '/' || text[0] == '@');
	case IPC_LISTEN_FD:
		return body->fd <= INT_MAX && size == 0;
	default:
		return false;
	}
}

int share_request_read(const struct ipc_message *message, struct share_request *ret)
{
	const struct ipc_listen *body = message->body;
	char *text = NULL;

	if (!is_sound(body, message->tail, message->tail_count))
		return -EPROTO;
	if (message->tail_count > 0) {
		text = strndup(message->tail, message->tail_count);
		if (!text)
			return -ENOMEM;
	}

	*ret = (struct share_request){
		.number = body->request,
		.kind = (enum ipc_listen_kind)body->kind,
		.text = text,
		.port = (uint16_t)body->port,
		.fd = body->kind == IPC_LISTEN_FD ? (int)body->fd : -1,
		.turn = body->turn,
		.backlog = (int)body->backlog,
		.ipv6_only = body->flags & IPC_LISTEN_IPV6_ONLY,
		.readable_all = body->flags & IPC_LISTEN_READABLE_ALL,
		.writable_all = body->flags & IPC_LISTEN_WRITABLE_ALL,
	};
	return 0;
}

void share_request_done(struct share_request *request)
{
	free(request->text);
	request->text = NULL;
}

/* --- comparing ------------------------------------------------------------------------------- */

bool share_request_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool share_request_equal(const struct share_request *a, const struct share_request *b)
{
	if (a->kind != b->kind || !share_request_same_text(a->text, b->text))
		return false;

	switch (a->kind) {
	case IPC_LISTEN_PORT:
		return a->port == b->port && (a->port != 0 || a->turn == b->turn);
	case IPC_LISTEN_FD:
		return a->fd == b->fd;
	case IPC_LISTEN_PATH:
		return true;
	}
	return false;
}

const char *share_request_difference(const struct share_request *a, const struct share_request *b)
{
	if (a->backlog != b->backlog)
		return "backlog";
	if (a->ipv6_only != b->ipv6_only)
		return "ipv6_only";
	if (a->readable_all != b->readable_all)
		return "readable_all";
	return a->writable_all != b->writable_all ? "writable_all" : NULL;
}

/* --- showing --------------------------------------------------------------------------------- */

void share_request_format(const struct share_request *request, char *text, size_t size)
{
	const char *host = request->text ? request->text : "::";

	switch (request->kind) {
	case IPC_LISTEN_PORT:
		snprintf(text, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, request->port);
		break;
	case IPC_LISTEN_PATH:
		snprintf(text, size, "%s", request->text);
		break;
	case IPC_LISTEN_FD:
		snprintf(text, size, "descriptor %d", request->fd);
		break;
	}
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}
