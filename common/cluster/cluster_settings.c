#include "common/cluster/cluster_settings.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"

#define SELF "/proc/self/exe"

static void free_list(char **list)
{
	for (char **text = list; text && *text; text++)
		free(*text);
	free(list);
}

/* first, which may be NULL, and then list. */
static int copy_list(const char *first, const char *const *list, char ***ret)
{
	size_t length = 0, n = program_list_length(list);
	char **copy = calloc(n + 2, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (first)
		copy[length++] = strdup(first);
	for (size_t i = 0; i < n && (length == 0 || copy[length - 1]); i++)
		copy[length++] = strdup(list[i]);
	if (length > 0 && !copy[length - 1]) {
		free_list(copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

/* The new process may have another working directory. */
static int absolute(const char *path, char **ret)
{
	AUTO_FREE char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

	if (path[0] == '/')
		*ret = strdup(path);
	else if (!here || asprintf(ret, "%s/%s", here, path) == -1)
		return here ? -ENOMEM : -errno;
	return *ret ? 0 : -ENOMEM;
}

static int copy_texts(struct cluster_setup *setup, const struct cluster_settings *settings)
{
	const char *name = settings->exec ? settings->exec : program_invocation_name;
	int error = absolute(settings->exec ? settings->exec : SELF, &setup->path);

	if (error < 0)
		return error;
	if (settings->cwd) {
		setup->cwd = strdup(settings->cwd);
		if (!setup->cwd)
			return -ENOMEM;
	}
	error = copy_list(name, settings->args, &setup->args);
	if (error == 0)
		error = copy_list(NULL, settings->env, &setup->env);
	return error;
}

static void fill_program(struct cluster_setup *setup, const struct cluster_settings *settings)
{
	struct program *p = &setup->program;

	p->path = setup->path;
	p->args = (const char *const *)setup->args;
	p->cwd = setup->cwd;
	p->has_uid = settings->has_uid;
	p->has_gid = settings->has_gid;
	p->uid = settings->uid;
	p->gid = settings->gid;
	p->has_stdio = settings->has_stdio;
	memcpy(p->stdio, settings->stdio, sizeof(p->stdio));
	/* Until it has opened; then it is told by its channel, and by another signal. */
	p->death_signal = SIGKILL;
}

int cluster_setup_init(struct cluster_setup *setup, const struct cluster_settings *settings)
{
	static const struct cluster_settings defaults;
	int error;

	if (!settings)
		settings = &defaults;
	if ((unsigned)settings->scheduling_policy > CLUSTER_SCHED_SOURCE_HASH)
		return -EINVAL;
	*setup = (struct cluster_setup){
		.program.fd = -1,
		.scheduling_policy = settings->scheduling_policy,
		.disconnect_timeout_ms = settings->disconnect_timeout_ms
						 ? settings->disconnect_timeout_ms
						 : CLUSTER_DISCONNECT_TIMEOUT_DEFAULT_MS,
	};
	error = copy_texts(setup, settings);
	if (error == 0 && !settings->exec)
		error = program_open(setup->path, &setup->program);
	if (error < 0) {
		cluster_setup_done(setup);
		return error;
	}
	fill_program(setup, settings);
	return 0;
}

void cluster_setup_done(struct cluster_setup *setup)
{
	program_close(&setup->program);
	free(setup->path);
	free(setup->cwd);
	free_list(setup->args);
	free_list(setup->env);
}

int cluster_setup_environment(const struct cluster_setup *setup, const char *const *env,
			      unsigned id, const char ***ret)
{
	const char *const *common = (const char *const *)setup->env;
	const size_t id_size = sizeof(CLUSTER_ID_VARIABLE) + 16;
	size_t n_common = program_list_length(common), n_own = program_list_length(env);
	size_t entries = n_common + n_own + 2;
	const char **list = malloc(entries * sizeof(*list) + id_size);

	if (!list)
		return -ENOMEM;
	char *text = (char *)(list + entries);
	snprintf(text, id_size, "%s=%u", CLUSTER_ID_VARIABLE, id);
	memcpy(list, common, n_common * sizeof(*list));
	if (n_own > 0)
		memcpy(list + n_common, env, n_own * sizeof(*list));
	list[entries - 2] = text;
	list[entries - 1] = NULL;
	*ret = list;
	return 0;
}
