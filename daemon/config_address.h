/* Where a listener listens: the keys that say so, and whether two listeners want the same place.
 *
 * Owns:   nothing; strings read are the listener's.
 * Errors: as config_value_fn.
 * Source: ip(7), ipv6(7) and unix(7) for which sockets exclude each other; RFC 1123 2.1 for the
 *         names of hosts. */
#ifndef USHER_DAEMON_CONFIG_ADDRESS_H
#define USHER_DAEMON_CONFIG_ADDRESS_H

#include <stdbool.h>

#include "daemon/config_map.h"

struct config_listener;

/* target is a struct config_listener: its kind and the members of that kind. */
config_value_fn config_read_host;
config_value_fn config_read_port;
config_value_fn config_read_path;
config_value_fn config_read_fd;
config_value_fn config_read_systemd;

bool config_host_is_ipv4(const char *text);

/* What should stand in place of text; NULL: text can be a host. */
const char *config_better_host(const char *text);

/* Whether the second bind would fail, or the second descriptor be the first one's. Names of hosts
 * are not looked up. */
bool config_addresses_clash(const struct config_listener *a, const struct config_listener *b);

#endif
