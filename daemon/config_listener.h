/* The items of the list `listeners`.
 *
 * Owns:   the listeners are appended to the reader's configuration, which owns them.
 * Errors: as config_value_fn. */
#ifndef USHER_DAEMON_CONFIG_LISTENER_H
#define USHER_DAEMON_CONFIG_LISTENER_H

#include "daemon/config_map.h"

struct config_listener;

/* target is a struct config. */
config_value_fn config_read_listeners;

/* Frees what a listener owns, not the struct. */
void config_listener_done(struct config_listener *listener);

#endif
