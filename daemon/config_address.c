#include "daemon/config_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/config.h"
#include "daemon/config_value.h"

#define HOST_NAME_MAX_LENGTH 253

/* LISTEN_FDNAMES has names of this length, separated by colons: sd_listen_fds(3). */
#define SYSTEMD_NAME_MAX_LENGTH 255

/* --- values ----------------------------------------------------------------------------------- */

/* Splits ADDRESS%ZONE, of which inet_pton(3) knows the first part only. */
static bool parse_ipv6(const char *text, struct in6_addr *ret_address, char ret_zone[IF_NAMESIZE])
{
	char address[INET6_ADDRSTRLEN];
	size_t size = strcspn(text, "%");
	const char *zone = text[size] == '%' ? text + size + 1 : "";

	if (size >= sizeof(address) || strlen(zone) >= IF_NAMESIZE)
		return false;
	if (text[size] == '%' && zone[0] == '\0')
		return false;

	memcpy(address, text, size);
	address[size] = '\0';
	memcpy(ret_zone, zone, strlen(zone) + 1);
	return inet_pton(AF_INET6, address, ret_address) == 1;
}

bool config_host_is_ipv4(const char *text)
{
	struct in_addr address;

	return inet_pton(AF_INET, text, &address) == 1;
}

static bool is_ipv6(const char *text)
{
	struct in6_addr address;
	char zone[IF_NAMESIZE];

	return parse_ipv6(text, &address, zone);
}

static bool is_host_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";

	return strlen(text) <= HOST_NAME_MAX_LENGTH && text[strspn(text, letters)] == '\0' &&
	       text[0] != '.' && text[0] != '-' && !strstr(text, "..");
}

const char *config_better_host(const char *text)
{
	if (config_host_is_ipv4(text) || is_ipv6(text))
		return NULL;
	if (text[0] == '[')
		return "an IPv6 address without brackets";
	if (strchr(text, ':'))
		return "an IPv6 address, or a host without its port";
	if (text[strspn(text, "0123456789.")] == '\0')
		return "an IPv4 address";

	return is_host_name(text) ? NULL : "an address or the name of a host";
}

int config_read_host(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *text;

	int err = config_text(reader, key, value, "an address or the name of a host", &text);
	if (err)
		return err;

	const char *better = config_better_host(text);
	return better ? config_refuse(reader, key->name, value, better)
		      : config_replace(&listener->host, text);
}

int config_read_port(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	unsigned long number = 0;

	int err = config_number(reader, key, value, &number);
	if (err)
		return err;

	listener->kind = CONFIG_HOST_PORT;
	listener->port = (uint16_t)number;
	return 0;
}

int config_read_path(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	static const char expected[] = "an absolute path, or \"@\" and an abstract name";
	struct config_listener *listener = target;
	const char *text;

	int err = config_text(reader, key, value, expected, &text);
	if (err)
		return err;

	bool abstract = text[0] == '@';
	if (abstract ? text[1] == '\0' : text[0] != '/' || text[strlen(text) - 1] == '/')
		return config_refuse(reader, key->name, value, expected);
	if (strlen(text + abstract) > CONFIG_SOCKET_PATH_MAX)
		return config_complain(reader, value,
				       "\"%s\" has %zu bytes; a socket's can have %d", key->name,
				       strlen(text + abstract), CONFIG_SOCKET_PATH_MAX);

	err = config_replace(&listener->path, text + abstract);
	if (!err)
		listener->kind = abstract ? CONFIG_ABSTRACT : CONFIG_PATH;
	return err;
}

int config_read_fd(struct config_reader *reader, const struct config_key *key,
		   const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	unsigned long number = 0;

	int err = config_number(reader, key, value, &number);
	if (err)
		return err;

	listener->kind = CONFIG_FD;
	listener->fd = (int)number;
	return 0;
}

int config_read_systemd(struct config_reader *reader, const struct config_key *key,
			const yaml_node_t *value, void *target)
{
	static const char expected[] = "the FileDescriptorName of a socket unit";
	struct config_listener *listener = target;
	const char *text;

	int err = config_text(reader, key, value, expected, &text);
	if (err)
		return err;
	if (strchr(text, ':') || strlen(text) > SYSTEMD_NAME_MAX_LENGTH)
		return config_refuse(reader, key->name, value, expected);

	err = config_replace(&listener->systemd_name, text);
	if (!err)
		listener->kind = CONFIG_SYSTEMD;
	return err;
}

/* --- two listeners ---------------------------------------------------------------------------- */

/* The addresses of one family on which a listener listens. */
enum reach { REACH_NONE, REACH_ONE, REACH_ANY };

struct coverage {
	enum reach v4, v6;
	struct in_addr v4_address;
	struct in6_addr v6_address;
	char zone[IF_NAMESIZE]; /* of a link-local address */
};

static struct coverage cover_ipv4(struct in_addr address)
{
	return (struct coverage){
		.v4 = address.s_addr == INADDR_ANY ? REACH_ANY : REACH_ONE,
		.v4_address = address,
	};
}

static struct coverage cover_ipv6(const struct in6_addr *address, bool ipv6_only)
{
	struct coverage coverage = {.v6 = REACH_ONE, .v6_address = *address};
	struct in_addr mapped;

	if (IN6_IS_ADDR_V4MAPPED(address)) {
		memcpy(&mapped, &address->s6_addr[12], sizeof(mapped));
		return cover_ipv4(mapped);
	}

	if (IN6_IS_ADDR_UNSPECIFIED(address)) {
		coverage.v6 = REACH_ANY;
		coverage.v4 = ipv6_only ? REACH_NONE : REACH_ANY;
	}
	return coverage;
}

/* A name covers nothing that can be known here. */
static struct coverage cover(const struct config_listener *listener)
{
	struct coverage coverage = {0};
	struct in_addr v4;
	struct in6_addr v6;
	char zone[IF_NAMESIZE];

	if (!listener->host)
		return cover_ipv6(&in6addr_any, listener->ipv6_only);
	if (inet_pton(AF_INET, listener->host, &v4) == 1)
		return cover_ipv4(v4);
	if (!parse_ipv6(listener->host, &v6, zone))
		return coverage;

	coverage = cover_ipv6(&v6, listener->ipv6_only);
	memcpy(coverage.zone, zone, sizeof(zone));
	return coverage;
}

static bool hosts_clash(const struct config_listener *a, const struct config_listener *b)
{
	struct coverage x = cover(a), y = cover(b);

	if (a->host && b->host && strcasecmp(a->host, b->host) == 0)
		return true;
	if (x.v4 && y.v4 && (x.v4 == REACH_ANY || y.v4 == REACH_ANY))
		return true;
	if (x.v6 && y.v6 && (x.v6 == REACH_ANY || y.v6 == REACH_ANY))
		return true;
	if (x.v4 && y.v4 && x.v4_address.s_addr == y.v4_address.s_addr)
		return true;

	return x.v6 && y.v6 && IN6_ARE_ADDR_EQUAL(&x.v6_address, &y.v6_address) &&
	       strcmp(x.zone, y.zone) == 0;
}

bool config_addresses_clash(const struct config_listener *a, const struct config_listener *b)
{
	if (a->kind != b->kind)
		return false;

	switch (a->kind) {
	case CONFIG_HOST_PORT:
		return a->port != 0 && a->port == b->port && hosts_clash(a, b);
	case CONFIG_PATH:
	case CONFIG_ABSTRACT:
		return strcmp(a->path, b->path) == 0;
	case CONFIG_FD:
		return a->fd == b->fd;
	case CONFIG_SYSTEMD:
		return strcmp(a->systemd_name, b->systemd_name) == 0;
	}
	return false;
}
