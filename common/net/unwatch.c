#include "common/net/unwatch.h"

#include <stddef.h>
#include <sys/epoll.h>

/* Asked each time: after a fork the loop has another one. */
static int set_of(struct ev_loop *loop)
{
	ev_embed embed;

	ev_embed_init(&embed, NULL, loop);
	ev_embed_start(loop, &embed);
	ev_embed_stop(loop, &embed);
	return embed.io.fd;
}

void unwatch(struct ev_loop *loop, int fd)
{
	if (ev_backend(loop) == EVBACKEND_EPOLL)
		epoll_ctl(set_of(loop), EPOLL_CTL_DEL, fd, NULL);
}
