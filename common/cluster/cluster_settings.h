/* What a cluster executes: the caller's settings, copied and completed.
 *
 * Owns:   the copies, and the file of the program that runs, so that a new one in its place does
 *         not mix with it. Another program is looked for at each fork.
 * Errors: 0, -ENOMEM, -EINVAL, or what opening our own program met. */
#ifndef USHER_COMMON_CLUSTER_CLUSTER_SETTINGS_H
#define USHER_COMMON_CLUSTER_CLUSTER_SETTINGS_H

#include "common/cluster/cluster.h"
#include "common/cluster/program.h"

/* The worker's id is in this environment variable of its process. */
#define CLUSTER_ID_VARIABLE "USHER_WORKER_ID"

struct cluster_setup {
	struct program program;
	enum cluster_scheduling_policy scheduling_policy;
	unsigned disconnect_timeout_ms;

	/* the module's */
	char *path;
	char *cwd;
	char **args;
	char **env;
};

/* settings may be NULL. */
int cluster_setup_init(struct cluster_setup *setup, const struct cluster_settings *settings);
void cluster_setup_done(struct cluster_setup *setup);

/* The program's environment for worker id: the settings', then env. Freed by free(3), in one
 * piece; env is borrowed. */
int cluster_setup_environment(const struct cluster_setup *setup, const char *const *env,
			      unsigned id, const char ***ret);

#endif
