/* What can be asked of a socket, and the options that the kernel keeps for it. */
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "common/net/socket.h"

/* --- options --------------------------------------------------------------------------------- */

static int set_option(const struct net_socket *s, int level, int name, int value)
{
	return setsockopt(s->io.fd, level, name, &value, sizeof(value)) == -1 ? -errno : 0;
}

static int apply_keep_alive(struct net_socket *s)
{
	unsigned seconds = s->extra ? s->extra->keep_alive_initial_delay_ms / 1000 : 0;
	int r = set_option(s, SOL_SOCKET, SO_KEEPALIVE, s->keep_alive);

	if (r < 0 || !s->keep_alive || seconds == 0)
		return r;

	/* With a delay of their own, probes come every second, and ten without answer end it. */
	r = set_option(s, IPPROTO_TCP, TCP_KEEPIDLE, (int)seconds);
	if (r == 0)
		r = set_option(s, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	if (r == 0)
		r = set_option(s, IPPROTO_TCP, TCP_KEEPCNT, 10);
	return r;
}

static int apply_type_of_service(struct net_socket *s)
{
	int value = s->extra->type_of_service;
	int r = 0;

	if (s->peer.sin6_family == AF_INET6)
		r = set_option(s, IPPROTO_IPV6, IPV6_TCLASS, value);
	/* Also for an IPv4-mapped peer of an IPv6 socket. */
	return r == 0 ? set_option(s, IPPROTO_IP, IP_TOS, value) : r;
}

int info_apply_options(struct net_socket *s)
{
	int r = 0;

	if (!s->is_tcp)
		return 0;
	if (s->extra && s->extra->type_of_service != 0)
		r = apply_type_of_service(s);
	if (r < 0)
		return r;
	if (s->no_delay)
		r = set_option(s, IPPROTO_TCP, TCP_NODELAY, 1);
	if (r == 0 && s->keep_alive)
		r = apply_keep_alive(s);
	return r;
}

int net_socket_set_no_delay(struct net_socket *s, bool enable)
{
	bool same = s->no_delay == enable;

	s->no_delay = enable;
	if (same || s->io.fd < 0 || !s->connected || !s->is_tcp)
		return 0;
	return set_option(s, IPPROTO_TCP, TCP_NODELAY, enable);
}

int net_socket_set_keep_alive(struct net_socket *s, bool enable, long initial_delay_ms)
{
	unsigned delay = initial_delay_ms <= 0        ? 0
			 : initial_delay_ms > INT_MAX ? INT_MAX
						      : (unsigned)initial_delay_ms;
	unsigned before = s->extra ? s->extra->keep_alive_initial_delay_ms : 0;
	bool same = s->keep_alive == enable && (delay / 1000 == 0 || delay == before);
	struct socket_extra *extra;
	int r;

	if (delay >= 1000) {
		r = socket_get_extra(s, &extra);
		if (r < 0)
			return r;
		extra->keep_alive_initial_delay_ms = delay;
	}

	s->keep_alive = enable;
	if (same || s->io.fd < 0 || !s->connected || !s->is_tcp)
		return 0;
	return apply_keep_alive(s);
}

int net_socket_set_type_of_service(struct net_socket *s, int value)
{
	struct socket_extra *extra;
	int r;

	if (value < 0 || value > UINT8_MAX)
		return NET_ERR_OUT_OF_RANGE;
	r = socket_get_extra(s, &extra);
	if (r < 0)
		return r;

	extra->type_of_service = (uint8_t)value;
	if (s->io.fd < 0 || !s->connected || !s->is_tcp)
		return 0;
	return apply_type_of_service(s);
}

int net_socket_type_of_service(const struct net_socket *s)
{
	return s->extra ? s->extra->type_of_service : 0;
}

/* --- addresses ------------------------------------------------------------------------------- */

int net_socket_address(const struct net_socket *s, struct net_address *ret)
{
	struct addr addr;
	int r;

	if (s->io.fd < 0 || !s->connected)
		return -ENOTCONN;

	r = addr_of_socket(s->io.fd, &addr);
	if (r < 0)
		return r;
	addr_to_net(&addr, ret);
	return 0;
}

int net_socket_local_address(const struct net_socket *s, struct net_address *ret)
{
	return net_socket_address(s, ret);
}

int net_socket_local_port(const struct net_socket *s)
{
	struct net_address address;
	int r = net_socket_address(s, &address);

	return r < 0 ? r : address.port;
}

int net_socket_local_family(const struct net_socket *s)
{
	struct net_address address;
	int r = net_socket_address(s, &address);

	return r < 0 ? r : address.family;
}

int net_socket_remote_address(const struct net_socket *s, struct net_address *ret)
{
	struct addr addr;

	if (!s->connected)
		return -ENOTCONN;

	socket_get_peer(s, &addr);
	if (!s->is_tcp && s->extra && s->extra->path)
		addr_unix(s->extra->path, &addr);
	addr_to_net(&addr, ret);
	return 0;
}

int net_socket_remote_port(const struct net_socket *s)
{
	struct net_address address;
	int r = net_socket_remote_address(s, &address);

	return r < 0 ? r : address.port;
}

int net_socket_remote_family(const struct net_socket *s)
{
	struct net_address address;
	int r = net_socket_remote_address(s, &address);

	return r < 0 ? r : address.family;
}

/* --- state ----------------------------------------------------------------------------------- */

uint64_t net_socket_bytes_read(const struct net_socket *s)
{
	return s->bytes_read;
}

uint64_t net_socket_bytes_written(const struct net_socket *s)
{
	return s->bytes_written;
}

size_t net_socket_buffer_size(const struct net_socket *s)
{
	return s->destroyed ? 0 : s->queue.size;
}

size_t net_socket_writable_length(const struct net_socket *s)
{
	return net_socket_buffer_size(s);
}

bool net_socket_connecting(const struct net_socket *s)
{
	return s->connecting;
}

bool net_socket_pending(const struct net_socket *s)
{
	return !s->connected || s->destroyed;
}

bool net_socket_destroyed(const struct net_socket *s)
{
	return s->destroyed;
}

enum net_ready_state net_socket_ready_state(const struct net_socket *s)
{
	bool readable = !s->end_told;
	bool writable = !s->ending;

	if (s->connecting)
		return NET_OPENING;
	if (s->destroyed || !s->connected)
		return NET_CLOSED;
	if (readable)
		return writable ? NET_OPEN : NET_READ_ONLY;
	return writable ? NET_WRITE_ONLY : NET_CLOSED;
}

struct net_server *net_socket_server(const struct net_socket *s)
{
	return s->server && !s->server->stands_in ? s->server : NULL;
}
