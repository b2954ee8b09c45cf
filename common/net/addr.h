/* Socket addresses: one struct for IPv4, IPv6 and Unix, to and from text.
 *
 * In text a Unix name that starts with '@' is abstract, as in systemd.socket(5) and ss(8).
 *
 * Errors: 0 or -errno; *ret is set on success only.
 * Source: ip(7), ipv6(7), unix(7), RFC 4007 for zones. */
#ifndef USHER_COMMON_NET_ADDR_H
#define USHER_COMMON_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/net/net.h"

struct addr {
	socklen_t len; /* 0: no address */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

/* "[" address "]:" port and the end of the text. */
#define ADDR_TEXT_SIZE (NET_ADDRESS_SIZE + 9)

/* Reads an IPv4 or IPv6 address, the latter with an optional %zone (a name or a number). -EINVAL
 * for anything else, -ENODEV for a zone that this machine does not have. */
int addr_parse(const char *host, uint16_t port, struct addr *ret);

/* A path, or an abstract name if it starts with '@'. -EINVAL if it is empty, -ENAMETOOLONG above
 * 107 bytes (never cut short). */
int addr_unix(const char *path, struct addr *ret);

/* The wildcard address of AF_INET or AF_INET6. */
void addr_any(int family, uint16_t port, struct addr *ret);

/* The local or remote address of a socket. */
int addr_of_socket(int fd, struct addr *ret);
int addr_of_peer(int fd, struct addr *ret);

/* In place of an address: who connected to a Unix socket, as the kernel noted it then. Where it has
 * not, pid is 0 and uid and gid are -1. */
void addr_peer_process(int fd, struct ucred *ret);

/* 4, 6, or 0 for Unix and for none. */
int addr_family(const struct addr *addr);
/* 0 where there is none. */
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);
bool addr_is_abstract(const struct addr *addr);
bool addr_equal(const struct addr *a, const struct addr *b);

/* "127.0.0.1:80", "[::1]:80", "/run/x.sock", "@name", "" for a socket without a name. */
void addr_format(const struct addr *addr, char *text, size_t size);

void addr_to_net(const struct addr *addr, struct net_address *ret);

#endif
