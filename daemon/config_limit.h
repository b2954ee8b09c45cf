/* How many connections: the keys "max_connections", "max_connections_per_worker" and "overflow" of
 * a listener.
 *
 * Errors: as config_value_fn. */
#ifndef USHER_DAEMON_CONFIG_LIMIT_H
#define USHER_DAEMON_CONFIG_LIMIT_H

#include "daemon/config_map.h"

struct config_listener;

/* target is a struct config_listener. */
config_value_fn config_read_overflow;

/* The keys, NULL where one was not given. */
struct config_limit_nodes {
	const yaml_node_t *max_connections;
	const yaml_node_t *max_per_worker;
	const yaml_node_t *overflow;
};

/* Whether they go together. */
int config_check_limit(struct config_reader *reader, const struct config_listener *listener,
		       const struct config_limit_nodes *nodes);

#endif
