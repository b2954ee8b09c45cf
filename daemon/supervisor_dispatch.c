#include "daemon/supervisor_dispatch.h"

#include <string.h>

#include "common/log.h"
#include "common/macros.h"
#include "daemon/supervisor.h"

static const struct child *child_of(const struct taker *taker)
{
	return CONTAINER_OF(taker, struct child, taker);
}

static void on_complaint(const struct taker *taker, const char *what, int error, void *ctx)
{
	log_warning("%s: %s; connections wait and are tried again every %d ms",
		    what ? what : child_name(child_of(taker)), strerror(-error), DISPATCH_PAUSE_MS);
}

static void on_late(const struct taker *taker, void *ctx)
{
	log_warning("%s does not take its connections; they go to others until it does",
		    child_name(child_of(taker)));
}

static void on_again(const struct taker *taker, void *ctx)
{
	log_info("%s takes its connections again", child_name(child_of(taker)));
}

static void on_returned(const struct taker *taker, const struct transit *transit, void *ctx)
{
	struct supervisor *s = ctx;

	count_returned(&s->counter, child_of(taker), transit);
}

/* What it says from now on is not worth listening to. */
static void on_broke(struct taker *taker, void *ctx)
{
	struct child *c = CONTAINER_OF(taker, struct child, taker);

	log_error("%s took a connection that it was never handed; killing it", child_name(c));
	channel_close(&c->process.channel);
	child_kill(c);
}

static void on_dropped(size_t count, void *ctx)
{
	log_warning("closed %zu connections that no worker could take any more", count);
}

const struct dispatch_ops supervisor_dispatch = {
	.returned = on_returned,
	.complaint = on_complaint,
	.late = on_late,
	.again = on_again,
	.broke = on_broke,
	.dropped = on_dropped,
};
