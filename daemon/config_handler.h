/* The value of a listener's key `handler`: NAME, or {NAME: TEXT} for a handler that takes a text.
 *
 * Errors: as config_value_fn. */
#ifndef USHER_DAEMON_CONFIG_HANDLER_H
#define USHER_DAEMON_CONFIG_HANDLER_H

#include "daemon/config_map.h"

/* target is a struct config_listener: its handler, handler_text and handler_text_size. */
config_value_fn config_read_handler;

#endif
