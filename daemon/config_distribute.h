/* Who accepts: the keys "distribute" and "hash" of a listener, and what they go with.
 *
 * Errors: as config_value_fn. */
#ifndef USHER_DAEMON_CONFIG_DISTRIBUTE_H
#define USHER_DAEMON_CONFIG_DISTRIBUTE_H

#include "daemon/config_map.h"

struct config_listener;

/* target is a struct config_listener. */
config_value_fn config_read_distribute;
config_value_fn config_read_hash;

/* The keys, NULL where one was not given. */
struct config_distribute_nodes {
	const yaml_node_t *distribute;
	const yaml_node_t *hash;
	const yaml_node_t *exclusive;
};

/* Whether the way fits the rest of the listener. */
int config_check_distribute(struct config_reader *reader, const struct config_listener *listener,
			    const struct config_distribute_nodes *nodes);

#endif
