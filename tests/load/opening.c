#include "tests/load/opening.h"

#include "common/macros.h"

/* Connects that are under way at a time: fewer than a listener's queue holds. */
#define CONNECTING_MAX 64

static void open_more(struct opening *o)
{
	while (o->begun < o->allowed && o->begun - o->settled < CONNECTING_MAX) {
		int r = o->connect(o->client, o->begun++);

		if (r < 0) {
			tally_failure(o->client->tally, FAILED_CONNECT, net_error_message(r));
			o->settled++;
		}
	}
	if (o->settled == o->client->connections)
		client_ready(o->client);
}

static void on_due(uint64_t number, uint64_t due_ns, void *ctx)
{
	struct opening *o = ctx;

	o->allowed = number + 1;
	if (o->allowed == o->client->connections)
		pace_stop(&o->pace);
	open_more(o);
}

int opening_begin(struct opening *o, struct client *c, opening_fn *connect)
{
	*o = (struct opening){.client = c, .connect = connect};
	if (c->open_rate > 0)
		return pace_start(&o->pace, c->loop, c->open_rate, on_due, o);
	o->allowed = c->connections;
	open_more(o);
	return 0;
}

void opening_settled(struct opening *o)
{
	o->settled++;
	open_more(o);
}
