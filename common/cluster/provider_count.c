/* The connections of servers, by listener. */
#include "common/cluster/provider_parts.h"
#include "common/net/server.h"

struct net_server *provider_server(const struct provider *p, uint32_t listener)
{
	const struct provided *one;

	LIST_FOREACH (one, &p->list, link)
		if (one->listener == listener && one->state == PROVIDED_HAS && one->is_apart)
			return one->server;
	return NULL;
}

size_t provider_news(struct provider *p, struct ipc_counted_row *ret, size_t room)
{
	struct provided *one;
	size_t n_rows = 0;

	LIST_FOREACH (one, &p->list, link) {
		uint32_t count = (uint32_t)net_server_connections(one->server);

		if (!one->tells || one->state != PROVIDED_HAS || one->told == count ||
		    n_rows == room)
			continue;
		one->told = count;
		ret[n_rows++] = (struct ipc_counted_row){one->listener, count};
	}
	return n_rows;
}

static bool has_newer(const struct provider *p, const struct provided *than)
{
	const struct provided *one;

	/* The newest is the first. */
	LIST_FOREACH (one, &p->list, link) {
		if (one == than)
			return false;
		if (one->server == than->server && one->state != PROVIDED_WAITS)
			return true;
	}
	return false;
}

static void add_row(struct ipc_counted_row *rows, size_t *n_rows, size_t room, uint32_t listener,
		    uint32_t connections)
{
	for (size_t i = 0; i < *n_rows; i++)
		if (rows[i].listener == listener) {
			rows[i].connections += connections;
			return;
		}
	if (*n_rows < room)
		rows[(*n_rows)++] = (struct ipc_counted_row){listener, connections};
}

size_t provider_count(const struct provider *p, struct ipc_counted_row *ret, size_t room)
{
	const struct provided *one;
	size_t n_rows = 0;

	LIST_FOREACH (one, &p->list, link)
		if (one->state != PROVIDED_WAITS && !has_newer(p, one))
			add_row(ret, &n_rows, room, one->listener,
				(uint32_t)net_server_connections(one->server));
	return n_rows;
}

void provider_each_server(const struct provider *p, provider_server_fn *fn, void *ctx)
{
	const struct provided *one;

	LIST_FOREACH (one, &p->list, link)
		if (one->state != PROVIDED_WAITS && !has_newer(p, one))
			fn(one->listener, one->server, ctx);
}
