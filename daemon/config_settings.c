#include "daemon/config_settings.h"

#include <string.h>

#include "daemon/config.h"
#include "daemon/config_allow.h"
#include "daemon/config_listener.h"
#include "daemon/config_owner.h"
#include "daemon/config_value.h"

#define SECOND 1000UL
#define HOUR   (3600 * SECOND)

static int read_workers(struct config_reader *reader, const struct config_key *key,
			const yaml_node_t *value, void *target)
{
	struct config *config = target;
	const char *text = config_scalar(value);
	unsigned long number = 0;

	size_t n = text ? config_digits(text, key->max, &number) : 0;
	if (!text || (strcmp(text, "auto") != 0 && (n == 0 || text[n] || number < key->min)))
		return config_refuse(reader, key->name, value, "auto or a number from 1 to 1024");

	config->workers = (unsigned int)number;
	return 0;
}

static int read_control(struct config_reader *reader, const struct config_key *key,
			const yaml_node_t *value, void *target)
{
	static const char expected[] = "the absolute path of a socket";
	struct config *config = target;
	const char *text;

	int err = config_text(reader, key, value, expected, &text);
	if (err)
		return err;
	if (text[0] != '/' || text[strlen(text) - 1] == '/')
		return config_refuse(reader, key->name, value, expected);
	if (strlen(text) > CONFIG_SOCKET_PATH_MAX)
		return config_complain(reader, value,
				       "\"%s\" has %zu bytes; a socket's path can have %d",
				       key->name, strlen(text), CONFIG_SOCKET_PATH_MAX);

	return config_replace(&config->control, text);
}

#define DURATION(field, shortest, longest)                                                         \
	.read = config_read_duration, .offset = offsetof(struct config, field), .min = (shortest), \
	.max = (longest)

static const struct config_key keys[] = {
	{.name = "workers", .read = read_workers, .min = 1, .max = CONFIG_WORKERS_MAX},
	{.name = "user", .read = config_read_user},
	{.name = "control", .read = read_control},
	{.name = "start_timeout", DURATION(start_timeout_ms, 100, HOUR)},
	{.name = "drain_timeout", DURATION(drain_timeout_ms, 0, 24 * HOUR)},
	{.name = "stop_timeout", DURATION(stop_timeout_ms, 100, HOUR)},
	{.name = "listeners", .read = config_read_listeners},
	{.name = "allow_listen", .read = config_read_allow_listen},
};

int config_settings_init(struct config *config)
{
	config->uid = (uid_t)-1;
	config->gid = (gid_t)-1;
	config->start_timeout_ms = 10 * SECOND;
	config->drain_timeout_ms = 30 * SECOND;
	config->stop_timeout_ms = 5 * SECOND;
	return config_default_control(&config->control);
}

int config_settings_read(struct config_reader *reader, const yaml_node_t *root)
{
	const yaml_node_t *given[ARRAY_LEN(keys)];

	if (!root)
		return 0;
	if (root->type != YAML_MAPPING_NODE)
		return config_complain(reader, root, "a configuration is a map of keys to values");

	return config_map_read(reader, root, keys, ARRAY_LEN(keys), reader->config, given);
}
