#include "worker/listing.h"

#include <string.h>
#include <sys/socket.h>

#include "common/ipc/wide.h"
#include "common/net/server.h"
#include "worker/service.h"

static bool is_meant(const struct service *service, const struct ipc_list *question)
{
	return question->listener == IPC_LISTENERS_ALL || service->listener == question->listener;
}

/* Has each service begin with its newest connection that is asked for. */
static void begin(struct service_list *services, const struct ipc_list *question)
{
	uint64_t before_us = wide_get(question->before_us);
	struct service *service;

	LIST_FOREACH (service, services, link) {
		struct net_socket *s = NULL;

		if (is_meant(service, question))
			s = server_next_connection(service->server, NULL);
		while (s && before_us > 0 && s->accepted_us >= before_us)
			s = server_next_connection(service->server, s);
		service->listed = s;
	}
}

/* The one that has the newest connection of all that are left; NULL: nothing is. */
static struct service *newest(struct service_list *services)
{
	struct service *service, *best = NULL;

	LIST_FOREACH (service, services, link)
		if (service->listed &&
		    (!best || service->listed->accepted_us > best->listed->accepted_us))
			best = service;
	return best;
}

/* A client of a Unix socket has no address, but the kernel knows who it was when it connected. */
static void describe_process(int fd, struct ipc_listed_row *row)
{
	struct ucred who = {.pid = 0, .uid = (uid_t)-1};
	socklen_t size = sizeof(who);

	row->family = AF_UNIX;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
	row->port = (uint32_t)who.pid;
	row->scope = who.uid;
}

static void describe_peer(const struct net_socket *s, struct ipc_listed_row *row)
{
	struct addr peer;

	socket_get_peer(s, &peer);
	if (peer.len == 0) {
		describe_process(s->io.fd, row);
		return;
	}
	row->family = peer.sa.sa_family;
	row->port = (uint32_t)addr_port(&peer);
	if (row->family == AF_INET) {
		memcpy(row->address, &peer.in.sin_addr, sizeof(peer.in.sin_addr));
		return;
	}
	memcpy(row->address, &peer.in6.sin6_addr, sizeof(peer.in6.sin6_addr));
	row->scope = peer.in6.sin6_scope_id;
}

static void describe(const struct service *service, struct ipc_listed_row *row)
{
	const struct net_socket *s = service->listed;

	*row = (struct ipc_listed_row){.listener = service->listener};
	wide_put(row->accepted_us, s->accepted_us);
	wide_put(row->bytes_read, net_socket_bytes_read(s));
	wide_put(row->bytes_written, net_socket_bytes_written(s));
	describe_peer(s, row);
}

size_t listing_fill(struct service_list *services, const struct ipc_list *question,
		    struct ipc_listed *ret, struct ipc_listed_row rows[IPC_LISTED_MAX])
{
	struct service *service;
	size_t n_rows = 0;

	begin(services, question);
	while ((service = newest(services)) && n_rows < IPC_LISTED_MAX) {
		describe(service, &rows[n_rows++]);
		service->listed = server_next_connection(service->server, service->listed);
	}
	*ret = (struct ipc_listed){.request = question->request, .more = service != NULL};
	return n_rows;
}
