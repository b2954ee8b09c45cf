/* On what workers may listen themselves: the key allow_listen.
 *
 * Owns:   a struct config_allow owns its text until config_allow_done().
 * Errors: as config_value_fn.
 * Source: usher.yaml(5). */
#ifndef USHER_DAEMON_CONFIG_ALLOW_H
#define USHER_DAEMON_CONFIG_ALLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config_map.h"

#define CONFIG_ALLOW_MAX 256

enum config_allow_kind {
	CONFIG_ALLOW_PORTS,    /* of the host, or of any */
	CONFIG_ALLOW_PATH,     /* the path, and what is below it if it is a folder */
	CONFIG_ALLOW_ABSTRACT, /* the name */
};

/* One item of the list. */
struct config_allow {
	enum config_allow_kind kind;
	char *text;     /* the host, NULL for any; the path; "@name" */
	uint16_t first; /* port */
	uint16_t last;
};

/* target is a struct config: its allow, n_allow and has_allow. */
config_value_fn config_read_allow_listen;

void config_allow_done(struct config_allow *allow);

#endif
