#include "worker/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/ipc/wide.h"
#include "common/net/server.h"

/* A server that has something to tell. */
struct listing_row {
	uint32_t listener;
	const struct net_server *server;
	const struct net_socket *next; /* the newest that is left */
};

void listing_begin(struct listing *l, const struct ipc_list *question)
{
	*l = (struct listing){.question = question};
}

/* The newest connection that is asked for. */
static const struct net_socket *first_of(const struct net_server *server, uint64_t before_us)
{
	const struct net_socket *s = server_next_connection(server, NULL);

	while (s && before_us > 0 && s->accepted_us >= before_us)
		s = server_next_connection(server, s);
	return s;
}

void listing_add(struct listing *l, uint32_t listener, const struct net_server *server)
{
	const struct ipc_list *question = l->question;
	const struct net_socket *first;
	struct listing_row *rows;

	if (question->listener != IPC_LISTENERS_ALL && listener != question->listener)
		return;
	first = first_of(server, wide_get(question->before_us));
	if (!first || l->error < 0)
		return;
	rows = reallocarray(l->rows, l->n_rows + 1, sizeof(*rows));
	if (!rows) {
		l->error = -ENOMEM;
		return;
	}
	l->rows = rows;
	rows[l->n_rows++] = (struct listing_row){listener, server, first};
}

/* The one that has the newest connection of all that are left; NULL: nothing is. */
static struct listing_row *newest(const struct listing *l)
{
	struct listing_row *best = NULL;

	for (size_t i = 0; i < l->n_rows; i++) {
		struct listing_row *row = &l->rows[i];

		if (row->next && (!best || row->next->accepted_us > best->next->accepted_us))
			best = row;
	}
	return best;
}

/* A client of a Unix socket has no address. */
static void describe_process(int fd, struct ipc_listed_row *row)
{
	struct ucred who;

	addr_peer_process(fd, &who);
	row->family = AF_UNIX;
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

static void describe(const struct listing_row *from, struct ipc_listed_row *row)
{
	const struct net_socket *s = from->next;

	*row = (struct ipc_listed_row){.listener = from->listener};
	wide_put(row->accepted_us, s->accepted_us);
	wide_put(row->bytes_read, net_socket_bytes_read(s));
	wide_put(row->bytes_written, net_socket_bytes_written(s));
	describe_peer(s, row);
}

int listing_end(struct listing *l, struct ipc_listed *ret,
		struct ipc_listed_row rows[IPC_LISTED_MAX], size_t *ret_count)
{
	struct listing_row *from;
	size_t n_rows = 0;

	while ((from = newest(l)) && n_rows < IPC_LISTED_MAX) {
		describe(from, &rows[n_rows++]);
		from->next = server_next_connection(from->server, from->next);
	}
	*ret = (struct ipc_listed){.request = l->question->request, .more = from != NULL};
	*ret_count = n_rows;
	free(l->rows);
	return l->error;
}
