/* Who accepts: the key "distribute" of a listener, and what it goes with.
 *
 * Errors: as config_value_fn. */
#ifndef USHER_DAEMON_CONFIG_DISTRIBUTE_H
#define USHER_DAEMON_CONFIG_DISTRIBUTE_H

#include "daemon/config_map.h"

struct config_listener;

/* target is a struct config_listener. */
config_value_fn config_read_distribute;

/* Whether the way fits the rest of the listener; the nodes are those of the keys, NULL where one
 * was not given. */
int config_check_distribute(struct config_reader *reader, const struct config_listener *listener,
			    const yaml_node_t *distribute, const yaml_node_t *exclusive);

#endif
