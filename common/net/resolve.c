#include "common/net/resolve.h"

#include <netdb.h>
#include <string.h>

#include "common/macros.h"

#define KNOWN_HINTS (NET_HINT_ADDRCONFIG | NET_HINT_V4MAPPED | NET_HINT_ALL)

/* getaddrinfo's own values overlap with negative errno values. */
static int status_of_eai(int eai)
{
	switch (eai) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return NET_ERR_NOT_FOUND;
	case EAI_AGAIN:
		return NET_ERR_EAI_AGAIN;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_FAMILY:
		return -EAFNOSUPPORT;
	case EAI_SYSTEM:
		return errno ? -errno : NET_ERR_EAI_FAIL;
	default:
		return NET_ERR_EAI_FAIL;
	}
}

int resolve_check(const struct resolve_request *request)
{
	size_t length = request->host ? strnlen(request->host, NI_MAXHOST) : 0;

	if (length == 0 || length == NI_MAXHOST)
		return -EINVAL;
	if (request->family != 0 && request->family != 4 && request->family != 6)
		return -EINVAL;
	if (request->hints & ~KNOWN_HINTS)
		return -EINVAL;
	return 0;
}

static bool is_internet(const struct addrinfo *info)
{
	return info->ai_family == AF_INET || info->ai_family == AF_INET6;
}

static int copy_addresses(const struct addrinfo *list, uint16_t port, struct resolve_result *ret)
{
	size_t count = 0, copied = 0;
	struct addr *addresses;

	for (const struct addrinfo *info = list; info; info = info->ai_next)
		count += is_internet(info);
	if (count == 0)
		return NET_ERR_NOT_FOUND;
	if (count > RESOLVE_ADDRESSES_MAX)
		count = RESOLVE_ADDRESSES_MAX;

	addresses = calloc(count, sizeof(*addresses));
	if (!addresses)
		return -ENOMEM;

	for (const struct addrinfo *info = list; copied < count; info = info->ai_next) {
		if (!is_internet(info))
			continue;
		struct addr *addr = &addresses[copied++];
		addr->len = info->ai_addrlen;
		memcpy(&addr->sa, info->ai_addr, info->ai_addrlen);
		addr_set_port(addr, port);
	}
	ret->addresses = addresses;
	ret->count = count;
	return 0;
}

static int flags_of_hints(int hints)
{
	return (hints & NET_HINT_ADDRCONFIG ? AI_ADDRCONFIG : 0) |
	       (hints & NET_HINT_V4MAPPED ? AI_V4MAPPED : 0) | (hints & NET_HINT_ALL ? AI_ALL : 0);
}

static int ask(const struct resolve_request *request, int flags, struct addrinfo **ret)
{
	struct addrinfo hints = {
		.ai_flags = flags_of_hints(request->hints) | flags,
		.ai_socktype = SOCK_STREAM, /* else each address comes once per type */
	};

	if (request->family != 0)
		hints.ai_family = request->family == 6 ? AF_INET6 : AF_INET;
	errno = 0;
	return getaddrinfo(request->host, NULL, &hints, ret);
}

static int take(int eai, struct addrinfo *list, uint16_t port, struct resolve_result *ret)
{
	int status;

	if (eai != 0)
		return status_of_eai(eai);

	status = copy_addresses(list, port, ret);
	freeaddrinfo(list);
	return status;
}

int resolve_name(const struct resolve_request *request, struct resolve_result *ret)
{
	struct addrinfo *list = NULL;
	int eai = ask(request, 0, &list);

	return take(eai, list, request->port, ret);
}

/* An address of the other family is EAI_ADDRFAMILY, or EAI_NONAME elsewhere than in glibc: that
 * one goes on to be asked for as a name, which costs time but gives the same answer. */
bool resolve_literal(const struct resolve_request *request, int *ret_status,
		     struct resolve_result *ret)
{
	struct addrinfo *list = NULL;
	int eai = ask(request, AI_NUMERICHOST, &list);

	if (eai == EAI_NONAME)
		return false;
	*ret_status = take(eai, list, request->port, ret);
	return true;
}
