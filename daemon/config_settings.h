/* The keys at the top of a configuration file.
 *
 * Errors: 0; -EINVAL, with complaints; -ENOMEM. */
#ifndef USHER_DAEMON_CONFIG_SETTINGS_H
#define USHER_DAEMON_CONFIG_SETTINGS_H

#include "daemon/config_map.h"

/* Reads a file's root node into the reader's configuration. NULL stands for an empty file. */
int config_settings_read(struct config_reader *reader, const yaml_node_t *root);

/* Gives every setting its default. Returns 0 or -ENOMEM. */
int config_settings_init(struct config *config);

#endif
