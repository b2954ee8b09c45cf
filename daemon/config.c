#include "daemon/config.h"

#include <string.h>

#include "daemon/config_file.h"
#include "daemon/config_listener.h"
#include "daemon/config_settings.h"
#include "daemon/config_value.h"
#include "daemon/config_yaml.h"

int config_default_control(char **ret)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (geteuid() != 0 && folder && folder[0] == '/') {
		if (asprintf(&path, "%s/usher/control.sock", folder) == -1)
			return -ENOMEM;
		if (strlen(path) <= CONFIG_SOCKET_PATH_MAX) {
			*ret = path;
			return 0;
		}
		free(path);
	}

	*ret = strdup(CONFIG_SYSTEM_CONTROL);
	return *ret ? 0 : -ENOMEM;
}

void config_free(struct config *config)
{
	if (!config)
		return;

	for (size_t i = 0; i < config->n_listeners; i++)
		config_listener_done(&config->listeners[i]);
	free(config->listeners);
	for (size_t i = 0; i < config->n_allow; i++)
		config_allow_done(&config->allow[i]);
	free(config->allow);
	config_file_list_free(config->files, config->n_files);
	free(config->user);
	free(config->control);
	free(config);
}

static int config_new(struct config **ret)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return -ENOMEM;

	int err = config_settings_init(config);
	if (err) {
		config_free(config);
		return err;
	}

	*ret = config;
	return 0;
}

/* --- one file after the other ----------------------------------------------------------------- */

/* The name becomes the configuration's, since marks point at it. */
static int add_file(struct config *config, const char *name, struct config_mark *ret)
{
	char **longer = reallocarray(config->files, config->n_files + 1, sizeof(*config->files));

	if (!longer)
		return -ENOMEM;
	config->files = longer;

	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;

	*ret = (struct config_mark){.file = copy, .rank = (unsigned int)config->n_files};
	config->files[config->n_files++] = copy;
	return 0;
}

static int add_text(struct config *config, const struct config_mark *file, const void *text,
		    size_t size, struct config_errors *errors)
{
	yaml_document_t document;
	struct config_reader reader = {
		.errors = errors,
		.config = config,
		.file = *file,
		.document = &document,
	};

	int err = config_yaml_load(file, text, size, errors, &document);
	if (err)
		return err;

	err = config_settings_read(&reader, yaml_document_get_root_node(&document));
	yaml_document_delete(&document);
	return err;
}

static int add_path(struct config *config, const char *path, struct config_errors *errors)
{
	AUTO_FREE char *text = NULL;
	struct config_mark file;
	size_t size;

	int err = add_file(config, path, &file);
	if (err)
		return err;

	err = config_file_read(path, &text, &size);
	if (err == -ENOMEM)
		return err;
	if (err) {
		config_errors_add(errors, &file, "%s", config_file_error(err));
		return err;
	}

	return add_text(config, &file, text, size, errors);
}

static int complain_of_folder(struct config *config, const char *folder,
			      struct config_errors *errors, int err)
{
	struct config_mark mark;

	int file_err = err == -ENOMEM ? err : add_file(config, folder, &mark);
	if (file_err)
		return file_err;

	config_errors_add(errors, &mark, "%s", config_file_error(err));
	return err;
}

static int add_folder(struct config *config, const char *file, struct config_errors *errors)
{
	AUTO_FREE char *folder = NULL;
	char **paths;
	size_t n;
	int result = 0;

	int err = config_file_folder(file, &folder);
	if (err)
		return err;
	err = config_file_list(folder, &paths, &n);
	if (err)
		return complain_of_folder(config, folder, errors, err);

	for (size_t i = 0; i < n && result != -ENOMEM; i++) {
		err = add_path(config, paths[i], errors);
		if (err == -ENOMEM || !result)
			result = err;
	}

	config_file_list_free(paths, n);
	return result;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int check_control(const struct config *config, struct config_errors *errors)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *listener = &config->listeners[i];

		if (listener->kind != CONFIG_PATH || strcmp(listener->path, config->control) != 0)
			continue;
		config_errors_add(errors, &listener->mark,
				  "listener \"%s\": its path is that of the control socket",
				  listener->name);
		return -EINVAL;
	}

	return 0;
}

static int check_whole(const struct config *config, struct config_errors *errors)
{
	if (config->n_listeners > 0)
		return check_control(config, errors);

	struct config_mark mark = {.file = config->files[0]};
	config_errors_add(errors, &mark, "no listeners are configured");
	return -EINVAL;
}

/* Hands the configuration out if nothing was wrong, and frees it otherwise. */
static int finish(struct config *config, struct config_errors *errors, int err, struct config **ret)
{
	if (!err)
		err = check_whole(config, errors);
	if (err) {
		config_free(config);
		return err;
	}

	*ret = config;
	return 0;
}

int config_load(const char *file, struct config_errors *errors, struct config **ret)
{
	struct config *config;

	int err = config_new(&config);
	if (err)
		return err;

	err = add_path(config, file, errors);
	if (!err || err == -EINVAL) {
		int folder_err = add_folder(config, file, errors);

		if (folder_err == -ENOMEM || !err)
			err = folder_err;
	}
	return finish(config, errors, err, ret);
}

int config_parse(const char *name, const void *text, size_t size, struct config_errors *errors,
		 struct config **ret)
{
	struct config_mark file;
	struct config *config;

	int err = config_new(&config);
	if (err)
		return err;

	err = add_file(config, name, &file);
	if (!err)
		err = add_text(config, &file, text, size, errors);
	return finish(config, errors, err, ret);
}
