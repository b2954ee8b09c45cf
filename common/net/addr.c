#include "common/net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"

static int parse_zone(const char *zone, uint32_t *ret)
{
	char *end;
	unsigned long number;

	*ret = if_nametoindex(zone);
	if (*ret != 0)
		return 0;

	errno = 0;
	number = strtoul(zone, &end, 10);
	if (zone[0] < '0' || zone[0] > '9' || *end != '\0' || errno != 0 || number > UINT32_MAX)
		return -ENODEV;

	*ret = (uint32_t)number;
	return 0;
}

static int parse_in6(const char *host, uint16_t port, struct addr *ret)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone = strchr(host, '%');
	size_t length = zone ? (size_t)(zone - host) : strlen(host);
	struct addr addr = {.len = sizeof(addr.in6)};

	if (length >= sizeof(text))
		return -EINVAL;
	memcpy(text, host, length);
	text[length] = '\0';

	addr.in6.sin6_family = AF_INET6;
	addr.in6.sin6_port = htons(port);
	if (inet_pton(AF_INET6, text, &addr.in6.sin6_addr) != 1)
		return -EINVAL;

	if (zone) {
		int r = parse_zone(zone + 1, &addr.in6.sin6_scope_id);
		if (r < 0)
			return r;
	}

	*ret = addr;
	return 0;
}

int addr_parse(const char *host, uint16_t port, struct addr *ret)
{
	struct addr addr = {.len = sizeof(addr.in)};

	addr.in.sin_family = AF_INET;
	addr.in.sin_port = htons(port);
	if (inet_pton(AF_INET, host, &addr.in.sin_addr) != 1)
		return parse_in6(host, port, ret);

	*ret = addr;
	return 0;
}

int addr_unix(const char *path, struct addr *ret)
{
	struct addr addr = {.un.sun_family = AF_UNIX};
	size_t length = strlen(path);
	bool abstract = path[0] == '@';

	if (length == 0 || (abstract && length == 1))
		return -EINVAL;
	if (length >= sizeof(addr.un.sun_path))
		return -ENAMETOOLONG;

	memcpy(addr.un.sun_path, path, length);
	if (abstract)
		addr.un.sun_path[0] = '\0';

	/* An abstract name ends where the length says, a path by its NUL. */
	addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
	*ret = addr;
	return 0;
}

void addr_any(int family, uint16_t port, struct addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->sa.sa_family = (sa_family_t)family;
	ret->len = family == AF_INET6 ? sizeof(ret->in6) : sizeof(ret->in);
	addr_set_port(ret, port);
}

int addr_of_socket(int fd, struct addr *ret)
{
	struct addr addr = {.len = sizeof(addr.un)};

	if (getsockname(fd, &addr.sa, &addr.len) == -1)
		return -errno;

	*ret = addr;
	return 0;
}

int addr_of_peer(int fd, struct addr *ret)
{
	struct addr addr = {.len = sizeof(addr.un)};

	if (getpeername(fd, &addr.sa, &addr.len) == -1)
		return -errno;

	*ret = addr;
	return 0;
}

void addr_peer_process(int fd, struct ucred *ret)
{
	struct ucred process;
	socklen_t size = sizeof(process);

	*ret = (struct ucred){.uid = (uid_t)-1, .gid = (gid_t)-1};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &size) == 0)
		*ret = process;
}

int addr_family(const struct addr *addr)
{
	if (addr->len == 0)
		return 0;
	return addr->sa.sa_family == AF_INET ? 4 : addr->sa.sa_family == AF_INET6 ? 6 : 0;
}

uint16_t addr_port(const struct addr *addr)
{
	switch (addr_family(addr)) {
	case 4:
		return ntohs(addr->in.sin_port);
	case 6:
		return ntohs(addr->in6.sin6_port);
	default:
		return 0;
	}
}

void addr_set_port(struct addr *addr, uint16_t port)
{
	if (addr_family(addr) == 4)
		addr->in.sin_port = htons(port);
	else if (addr_family(addr) == 6)
		addr->in6.sin6_port = htons(port);
}

/* The kernel's length can count a name without its NUL, or no name at all. */
static size_t unix_name_size(const struct addr *addr)
{
	size_t start = offsetof(struct sockaddr_un, sun_path);
	size_t size = addr->len > start ? addr->len - start : 0;

	if (size > sizeof(addr->un.sun_path))
		size = sizeof(addr->un.sun_path);
	if (size > 0 && addr->un.sun_path[0] != '\0')
		size = strnlen(addr->un.sun_path, size);
	return size;
}

bool addr_is_abstract(const struct addr *addr)
{
	return addr->len > 0 && addr->sa.sa_family == AF_UNIX && unix_name_size(addr) > 0 &&
	       addr->un.sun_path[0] == '\0';
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (addr_family(a) != addr_family(b))
		return false;

	switch (addr_family(a)) {
	case 4:
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case 6:
		return a->in6.sin6_port == b->in6.sin6_port &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
		       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
	default:
		return unix_name_size(a) == unix_name_size(b) &&
		       memcmp(a->un.sun_path, b->un.sun_path, unix_name_size(a)) == 0;
	}
}

static void format_unix(const struct addr *addr, char *text, size_t size)
{
	size_t length = addr->len > 0 ? unix_name_size(addr) : 0;

	if (length >= size)
		length = size - 1;
	for (size_t i = 0; i < length; i++)
		text[i] = addr->un.sun_path[i] == '\0' ? '@' : addr->un.sun_path[i];
	text[length] = '\0';
}

static void format_in6(const struct addr *addr, char *text, size_t size)
{
	char zone[IF_NAMESIZE];
	uint32_t scope = addr->in6.sin6_scope_id;
	size_t used;

	inet_ntop(AF_INET6, &addr->in6.sin6_addr, text, (socklen_t)size);
	if (scope == 0)
		return;

	used = strlen(text);
	if (if_indextoname(scope, zone))
		snprintf(text + used, size - used, "%%%s", zone);
	else
		snprintf(text + used, size - used, "%%%u", scope);
}

void addr_to_net(const struct addr *addr, struct net_address *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->family = addr_family(addr);
	ret->port = addr_port(addr);

	if (ret->family == 4)
		inet_ntop(AF_INET, &addr->in.sin_addr, ret->address, sizeof(ret->address));
	else if (ret->family == 6)
		format_in6(addr, ret->address, sizeof(ret->address));
	else
		format_unix(addr, ret->address, sizeof(ret->address));
}

void addr_format(const struct addr *addr, char *text, size_t size)
{
	struct net_address net;

	addr_to_net(addr, &net);
	if (net.family == 6)
		snprintf(text, size, "[%s]:%u", net.address, net.port);
	else if (net.family == 4)
		snprintf(text, size, "%s:%u", net.address, net.port);
	else
		snprintf(text, size, "%s", net.address);
}
