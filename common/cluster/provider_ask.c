/* What a server is to listen on, as a LISTEN message. */
#include <limits.h>
#include <string.h>

#include "common/cluster/provider_parts.h"
#include "common/cluster/share_request.h"
#include "common/macros.h"
#include "common/net/bind.h"

/* How often port 0 of a host was asked for. */
struct provider_turn {
	SLIST_ENTRY(provider_turn) link;
	char *host; /* NULL: any */
	uint32_t count;
};

/* NULL: out of memory. */
static struct provider_turn *turn_of(struct provider *p, const char *host)
{
	struct provider_turn *turn;

	SLIST_FOREACH (turn, &p->turns, link)
		if (share_request_same_text(turn->host, host))
			return turn;

	turn = calloc(1, sizeof(*turn));
	if (!turn)
		return NULL;
	turn->host = host ? strdup(host) : NULL;
	if (host && !turn->host) {
		free(turn);
		return NULL;
	}
	SLIST_INSERT_HEAD(&p->turns, turn, link);
	return turn;
}

static int fill_port(struct provider *p, const struct net_listen_options *options,
		     struct ipc_listen *body, struct provider_turn **ret_turn)
{
	if (options->host && !*options->host)
		return -EINVAL;
	if (options->host && strlen(options->host) > SHARE_HOST_MAX)
		return -ENAMETOOLONG;

	body->kind = IPC_LISTEN_PORT;
	body->port = (uint32_t)options->port;
	if (options->port != 0)
		return 0;
	*ret_turn = turn_of(p, options->host);
	if (!*ret_turn)
		return -ENOMEM;
	body->turn = (*ret_turn)->count;
	return 0;
}

int provider_ask(struct provider *p, const struct net_listen_options *options, uint32_t request)
{
	struct ipc_listen body = {
		.request = request,
		.backlog = (uint32_t)options->backlog,
		.flags = (options->ipv6_only ? IPC_LISTEN_IPV6_ONLY : 0) |
			 (options->readable_all ? IPC_LISTEN_READABLE_ALL : 0) |
			 (options->writable_all ? IPC_LISTEN_WRITABLE_ALL : 0),
	};
	struct provider_turn *turn = NULL;
	AUTO_FREE char *path = NULL;
	const char *text = options->host;
	int error = 0;

	if (options->has_fd) {
		body.kind = IPC_LISTEN_FD;
		body.fd = (uint32_t)options->fd;
		text = NULL;
	} else if (options->has_port || options->port != 0) {
		error = fill_port(p, options, &body, &turn);
	} else {
		body.kind = IPC_LISTEN_PATH;
		error = bind_absolute_path(options->path, &path);
		text = path;
	}
	if (error == 0 && path && strlen(path) >= PATH_MAX)
		error = -ENAMETOOLONG;
	if (error < 0)
		return error;

	error = channel_send(p->channel, IPC_LISTEN, &body, text, text ? strlen(text) : 0, NULL);
	if (error == 0 && turn)
		turn->count++;
	return error;
}

void provider_end_turns(struct provider *p)
{
	struct provider_turn *turn;

	while ((turn = SLIST_FIRST(&p->turns))) {
		SLIST_REMOVE_HEAD(&p->turns, link);
		free(turn->host);
		free(turn);
	}
}
