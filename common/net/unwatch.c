#include "common/net/unwatch.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>

#include "common/net/context.h"

/* To ask costs a system call, in which libev looks at what the kernel can do. */
static int set_of(struct ev_loop *loop)
{
	ev_embed embed;

	ev_embed_init(&embed, NULL, loop);
	ev_embed_start(loop, &embed);
	ev_embed_stop(loop, &embed);
	return embed.io.fd;
}

static bool leave(const struct net_context *context, int fd)
{
	return epoll_ctl(context->set, EPOLL_CTL_DEL, fd, NULL) == 0;
}

/* After a fork the loop has its parent's set until it runs, and then another one, in which fd is,
 * and not in what has the old number now. */
void unwatch(struct net_context *context, int fd)
{
	if (ev_backend(context->loop) != EVBACKEND_EPOLL || context_has_parents_set(context) ||
	    leave(context, fd))
		return;
	context->set = set_of(context->loop);
	leave(context, fd);
}
