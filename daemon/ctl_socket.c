#include "daemon/ctl_socket.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/macros.h"
#include "daemon/config.h"

static int no_memory(void)
{
	fputs("usherctl: out of memory\n", stderr);
	return EX_OSERR;
}

/* Keeps a copy of path; NULL stands for failed memory. */
static int keep(const char *path, char **ret)
{
	char *copy = strdup(path);

	if (!copy)
		return no_memory();
	*ret = copy;
	return 0;
}

/* That a file's mode keeps it from us is no EX_NOPERM, see sysexits(3): it cannot be read. */
static int exit_code_of(int error)
{
	switch (error) {
	case EINVAL:
		return EX_CONFIG;
	case EMFILE:
	case ENFILE:
		return EX_OSERR;
	default:
		return EX_NOINPUT;
	}
}

/* All complaints about it are shown only if the user named it. */
static int from_config(const char *file, bool named, char **ret)
{
	static struct config_errors errors; /* too large for the stack */
	struct config *config;
	int r;

	r = config_load(file, &errors, &config);
	if (r < 0 && named)
		config_errors_print(&errors, stderr);
	config_errors_done(&errors);
	if (r == -ENOMEM)
		return no_memory();
	if (r < 0)
		return exit_code_of(-r);

	r = keep(config->control, ret);
	config_free(config);
	return r;
}

static int usual_place(char **ret)
{
	return config_default_control(ret) < 0 ? no_memory() : 0;
}

int ctl_socket_find(const struct ctl_options *options, char **ret)
{
	int code;

	if (options->socket)
		return keep(options->socket, ret);
	if (options->config)
		return from_config(options->config, true, ret);
	if (access(USHER_CONFIG, R_OK) == -1)
		return usual_place(ret);

	code = from_config(USHER_CONFIG, false, ret);
	if (code == 0)
		return 0;
	fprintf(stderr,
		"usherctl: %s does not load (usherd -t tells why); asking at the usual place\n",
		USHER_CONFIG);
	return usual_place(ret);
}
