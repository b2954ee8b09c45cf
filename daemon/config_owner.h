/* Who may do what: users and groups, as names that this machine knows or as numbers, and modes.
 *
 * Errors: as config_value_fn. A name that nobody has is a complaint, whoever asks: looking it up
 *         needs no privileges.
 * Source: getpwnam(3), getgrnam(3). */
#ifndef USHER_DAEMON_CONFIG_OWNER_H
#define USHER_DAEMON_CONFIG_OWNER_H

#include "daemon/config_map.h"

/* target is a struct config: its user, uid and gid. */
config_value_fn config_read_user;

/* target is a struct config_listener: its uid and gid, from USER, USER:GROUP or :GROUP. */
config_value_fn config_read_owner;

/* target is a struct config_listener: its mode and has_mode. */
config_value_fn config_read_mode;

#endif
