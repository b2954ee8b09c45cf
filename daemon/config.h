/* The configuration of usherd: YAML files read into one immutable struct.
 *
 * FILE is read first, then the *.yaml files of the folder conf.d beside it in the order of their
 * names: later settings replace earlier ones, listeners add up.
 *
 * Owns:   a struct config owns all that it points at, until config_free().
 * Errors: 0 or -errno: -EINVAL when the files hold mistakes, -ENOMEM, or why a file cannot be
 *         read (-ENOENT, -EACCES, -EISDIR, -EBADFD, ...). Except for -ENOMEM each failure has at
 *         least one complaint in errors, and all complaints are collected, not only the first.
 * Source: usher.yaml(5) describes every key; YAML 1.1 as libyaml reads it. */
#ifndef USHER_DAEMON_CONFIG_H
#define USHER_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/handlers.h"
#include "daemon/config_allow.h"
#include "daemon/config_errors.h"
#include "daemon/distribute.h"
#include "daemon/overflow.h"

#define CONFIG_LISTENERS_MAX 1024
#define CONFIG_WORKERS_MAX   1024
#define CONFIG_NAME_MAX      64 /* bytes in a listener's name */

/* Where the control socket of the system's own usherd is. */
#define CONFIG_SYSTEM_CONTROL "/run/usher/control.sock"

enum config_listener_kind {
	CONFIG_HOST_PORT,
	CONFIG_PATH,
	CONFIG_ABSTRACT,
	CONFIG_FD,
	CONFIG_SYSTEMD,
};

struct config_listener {
	char *name;
	enum config_listener_kind kind;

	char *host; /* CONFIG_HOST_PORT: an address or a name; NULL: any address */
	uint16_t port;
	char *path;         /* CONFIG_PATH; for CONFIG_ABSTRACT the name without its "@" */
	int fd;             /* CONFIG_FD */
	char *systemd_name; /* CONFIG_SYSTEMD: its name in LISTEN_FDNAMES */

	int backlog;
	bool exclusive;
	enum distribute distribute;
	bool hash_port;                 /* for source-hash: of the address and the port */
	int max_connections;            /* over all workers; 0: no limit */
	int max_connections_per_worker; /* 0: no limit */
	enum overflow overflow;         /* what becomes of those that are too many */
	bool ipv6_only;
	bool has_mode; /* else the mode is what the umask leaves */
	mode_t mode;
	uid_t uid; /* (uid_t)-1 and (gid_t)-1: unchanged */
	gid_t gid;

	enum handler_kind handler;
	char *handler_text; /* NULL for a handler that takes none; may hold NUL bytes */
	size_t handler_text_size;

	struct config_mark mark; /* where it is defined, for later complaints about it */
};

struct config {
	unsigned int workers; /* 0: auto */
	char *user;           /* NULL: workers run as who started usherd */
	uid_t uid;            /* those of user; (uid_t)-1 and (gid_t)-1 without one */
	gid_t gid;
	char *control; /* absolute path */
	unsigned int start_timeout_ms;
	unsigned int drain_timeout_ms;
	unsigned int stop_timeout_ms;

	struct config_listener *listeners; /* at least one */
	size_t n_listeners;

	bool has_allow; /* else workers listen on what their user may */
	struct config_allow *allow;
	size_t n_allow;

	char **files; /* as read; marks point at these names */
	size_t n_files;
};

/* Reads FILE and its conf.d. errors is the caller's, empty before the call. */
int config_load(const char *file, struct config_errors *errors, struct config **ret);

/* The same for one file that is in memory already; name stands in complaints. */
int config_parse(const char *name, const void *text, size_t size, struct config_errors *errors,
		 struct config **ret);

/* Takes NULL. */
void config_free(struct config *config);

/* Writes the configuration as YAML that loads again to the same one. */
int config_print(const struct config *config, FILE *out);

/* The control socket where none is configured: CONFIG_SYSTEM_CONTROL, or for a user other than
 * root whose session has a runtime folder, $XDG_RUNTIME_DIR/usher/control.sock. The string is the
 * caller's to free. Returns 0 or -ENOMEM. */
int config_default_control(char **ret);

#endif
