#include "daemon/config_listener.h"

#include <limits.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/config_address.h"
#include "daemon/config_distribute.h"
#include "daemon/config_handler.h"
#include "daemon/config_limit.h"
#include "daemon/config_owner.h"
#include "daemon/config_value.h"
#include "daemon/config_yaml.h"

#define BACKLOG_DEFAULT 511
#define CONTEXT_SIZE    96

/* Below are the standard streams. */
#define FD_MIN 3
#define FD_MAX 1048575

/* --- the name --------------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t length = strspn(text, letters);

	return length >= 1 && length <= CONFIG_NAME_MAX && text[length] == '\0';
}

static int read_name(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *text = config_scalar(value);

	if (!text || !is_name(text))
		return config_refuse(reader, key->name, value,
				     "1 to 64 letters, digits, \"_\", \".\" or \"-\"");

	return config_replace(&listener->name, text);
}

/* --- the keys --------------------------------------------------------------------------------- */

/* Rows that the checks below refer to; the others follow. */
enum key {
	KEY_NAME,
	KEY_HOST,
	KEY_PORT,
	KEY_PATH,
	KEY_FD,
	KEY_SYSTEMD,
	KEY_IPV6_ONLY,
	KEY_MODE,
	KEY_OWNER,
	KEY_HANDLER,
	KEY_EXCLUSIVE,
	KEY_DISTRIBUTE,
	KEY_HASH,
	KEY_MAX_CONNECTIONS,
	KEY_MAX_PER_WORKER,
	KEY_OVERFLOW
};

#define MEMBER(field) .offset = offsetof(struct config_listener, field)

static const struct config_key keys[] = {
	[KEY_NAME] = {.name = "name", .read = read_name},
	[KEY_HOST] = {.name = "host", .read = config_read_host},
	[KEY_PORT] = {.name = "port", .read = config_read_port, .max = UINT16_MAX},
	[KEY_PATH] = {.name = "path", .read = config_read_path},
	[KEY_FD] = {.name = "fd", .read = config_read_fd, .min = FD_MIN, .max = FD_MAX},
	[KEY_SYSTEMD] = {.name = "systemd", .read = config_read_systemd},
	[KEY_IPV6_ONLY] = {.name = "ipv6_only", .read = config_read_bool, MEMBER(ipv6_only)},
	[KEY_MODE] = {.name = "mode", .read = config_read_mode},
	[KEY_OWNER] = {.name = "owner", .read = config_read_owner},
	[KEY_HANDLER] = {.name = "handler", .read = config_read_handler},
	[KEY_EXCLUSIVE] = {.name = "exclusive", .read = config_read_bool, MEMBER(exclusive)},
	[KEY_DISTRIBUTE] = {.name = "distribute", .read = config_read_distribute},
	[KEY_HASH] = {.name = "hash", .read = config_read_hash},
	[KEY_MAX_CONNECTIONS] = {.name = "max_connections",
				 .read = config_read_int,
				 MEMBER(max_connections),
				 .min = 1,
				 .max = INT_MAX},
	[KEY_MAX_PER_WORKER] = {.name = "max_connections_per_worker",
				.read = config_read_int,
				MEMBER(max_connections_per_worker),
				.min = 1,
				.max = INT_MAX},
	[KEY_OVERFLOW] = {.name = "overflow", .read = config_read_overflow},
	{.name = "backlog", .read = config_read_int, MEMBER(backlog), .min = 1, .max = INT_MAX},

	/* those of later versions */
	{.name = "allow_half_open"},
	{.name = "high_water_mark"},
	{.name = "keep_alive"},
	{.name = "keep_alive_initial_delay"},
	{.name = "no_delay"},
	{.name = "pause_on_connect"},
	{.name = "readable_all"},
	{.name = "reuse_port"},
	{.name = "timeout"},
	{.name = "writable_all"},
};

static const enum key address_keys[] = {KEY_PORT, KEY_PATH, KEY_FD, KEY_SYSTEMD};

#define KIND(kind) (1U << (kind))

/* Keys that go with some kinds of address only. */
static const struct {
	enum key key;
	unsigned int kinds;
	const char *with;
} companions[] = {
	{KEY_HOST, KIND(CONFIG_HOST_PORT), "\"port\""},
	{KEY_IPV6_ONLY, KIND(CONFIG_HOST_PORT), "\"port\""},
	{KEY_MODE, KIND(CONFIG_PATH), "the \"path\" of a file"},
	{KEY_OWNER, KIND(CONFIG_PATH), "the \"path\" of a file"},
};

/* --- checks between keys ---------------------------------------------------------------------- */

static bool is_before(const yaml_node_t *a, const yaml_node_t *b)
{
	return a->start_mark.index < b->start_mark.index;
}

/* The complaint is about the later one, whatever the order of the table. */
static int check_one_address(struct config_reader *reader, const yaml_node_t *map,
			     const yaml_node_t **given)
{
	const yaml_node_t *first = NULL;
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(address_keys); i++) {
		const yaml_node_t *node = given[address_keys[i]];

		if (node && (!first || is_before(node, first)))
			first = node;
	}
	if (!first)
		return config_complain(
			reader, map, "one of \"port\", \"path\", \"fd\" or \"systemd\" is missing");

	for (size_t i = 0; i < ARRAY_LEN(address_keys); i++) {
		const yaml_node_t *node = given[address_keys[i]];

		if (node && node != first)
			result = config_complain(reader, node,
						 "\"%s\" and \"%s\" exclude each other",
						 config_scalar(first), config_scalar(node));
	}
	return result;
}

static int check_companions(struct config_reader *reader, const struct config_listener *listener,
			    const yaml_node_t **given)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
		const yaml_node_t *node = given[companions[i].key];

		if (node && !(companions[i].kinds & KIND(listener->kind)))
			result = config_complain(reader, node, "\"%s\" goes only with %s",
						 keys[companions[i].key].name, companions[i].with);
	}
	if (listener->ipv6_only && listener->host && config_host_is_ipv4(listener->host))
		result = config_complain(reader, given[KEY_IPV6_ONLY],
					 "\"ipv6_only\" does not go with an IPv4 address");
	return result;
}

static int check_required(struct config_reader *reader, const yaml_node_t *map,
			  const yaml_node_t **given)
{
	static const enum key required[] = {KEY_NAME, KEY_HANDLER};
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!given[required[i]])
			result = config_complain(reader, map, "\"%s\" is missing",
						 keys[required[i]].name);

	return result;
}

static int check_keys(struct config_reader *reader, const struct config_listener *listener,
		      const yaml_node_t *map, const yaml_node_t **given)
{
	int result = check_required(reader, map, given);

	int err = check_one_address(reader, map, given);
	if (err)
		return err;

	const struct config_distribute_nodes nodes = {
		.distribute = given[KEY_DISTRIBUTE],
		.hash = given[KEY_HASH],
		.exclusive = given[KEY_EXCLUSIVE],
	};
	int companions_err = check_companions(reader, listener, given);
	const struct config_limit_nodes limit = {
		.max_connections = given[KEY_MAX_CONNECTIONS],
		.max_per_worker = given[KEY_MAX_PER_WORKER],
		.overflow = given[KEY_OVERFLOW],
	};
	int limit_err = config_check_limit(reader, listener, &limit);
	err = config_check_distribute(reader, listener, &nodes);
	err = err ? err : companions_err ? companions_err : limit_err;
	return err ? err : result;
}

/* Compares with the listeners before, those of earlier files included. */
static int check_unique(struct config_reader *reader, const struct config_listener *listener,
			const yaml_node_t *map)
{
	const struct config *config = reader->config;
	int result = 0;

	for (size_t i = 0; i < config->n_listeners; i++) {
		const struct config_listener *other = &config->listeners[i];
		const struct config_mark *mark = &other->mark;

		if (listener->name && other->name && strcmp(listener->name, other->name) == 0)
			result = config_complain(reader, map,
						 "this name is taken by the listener at %s:%u:%u",
						 mark->file, mark->line, mark->column);
		if (config_addresses_clash(listener, other))
			result = config_complain(
				reader, map, "this address is taken by the listener at %s:%u:%u",
				mark->file, mark->line, mark->column);
	}
	return result;
}

/* --- one listener, and the list --------------------------------------------------------------- */

void config_listener_done(struct config_listener *listener)
{
	free(listener->name);
	free(listener->host);
	free(listener->path);
	free(listener->systemd_name);
	free(listener->handler_text);
}

static struct config_listener defaults(const struct config_reader *reader, const yaml_node_t *map)
{
	return (struct config_listener){
		.fd = -1,
		.backlog = BACKLOG_DEFAULT,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.mark = config_yaml_mark(&reader->file, &map->start_mark),
	};
}

/* `listener "db"` wherever in the map the name stands, else `listener 3`. */
static void name_context(const struct config_reader *reader, const yaml_node_t *map, size_t number,
			 char ret[CONTEXT_SIZE])
{
	snprintf(ret, CONTEXT_SIZE, "listener %zu", number);

	for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
	     pair < map->data.mapping.pairs.top; pair++) {
		const char *key = config_scalar(config_node(reader, pair->key));
		const char *name = config_scalar(config_node(reader, pair->value));

		if (key && name && strcmp(key, keys[KEY_NAME].name) == 0 && is_name(name))
			snprintf(ret, CONTEXT_SIZE, "listener \"%s\"", name);
	}
}

/* A listener that has faults joins the others, so that they are compared with it too; the
 * configuration is never handed out then. */
static int append(struct config *config, const struct config_listener *listener)
{
	struct config_listener *longer = reallocarray(config->listeners, config->n_listeners + 1,
						      sizeof(*config->listeners));

	if (!longer)
		return -ENOMEM;

	longer[config->n_listeners++] = *listener;
	config->listeners = longer;
	return 0;
}

/* No host at all means every address; of one that was refused nothing is known, and port 0 takes
 * no other listener's place. */
static void forget_place_of_refused_host(struct config_listener *listener,
					 const yaml_node_t **given)
{
	if (given[KEY_HOST] && !listener->host)
		listener->port = 0;
}

static int read_map(struct config_reader *reader, const yaml_node_t *map)
{
	struct config_listener listener = defaults(reader, map);
	const yaml_node_t *given[ARRAY_LEN(keys)];

	int result = config_map_read(reader, map, keys, ARRAY_LEN(keys), &listener, given);
	if (result != -ENOMEM) {
		int keys_err = check_keys(reader, &listener, map, given);
		forget_place_of_refused_host(&listener, given);
		int unique_err = check_unique(reader, &listener, map);

		result = result ? result : keys_err ? keys_err : unique_err;
	}
	if (result == -ENOMEM || append(reader->config, &listener) != 0) {
		config_listener_done(&listener);
		return -ENOMEM;
	}
	return result;
}

static int read_item(struct config_reader *reader, const yaml_node_t *item, size_t number)
{
	char context[CONTEXT_SIZE];

	if (item->type != YAML_MAPPING_NODE)
		return config_complain(reader, item, "listener %zu must be a map", number);

	name_context(reader, item, number, context);
	reader->context = context;
	int err = read_map(reader, item);
	reader->context = NULL;
	return err;
}

int config_read_listeners(struct config_reader *reader, const struct config_key *key,
			  const yaml_node_t *value, void *target)
{
	struct config *config = target;
	size_t number = 0;
	int result = 0;

	if (value->type != YAML_SEQUENCE_NODE)
		return config_refuse(reader, key->name, value, "a list of maps");

	for (const yaml_node_item_t *item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		const yaml_node_t *node = config_node(reader, *item);

		if (config->n_listeners == CONFIG_LISTENERS_MAX)
			return config_complain(reader, node, "there are more than %d listeners",
					       CONFIG_LISTENERS_MAX);

		int err = read_item(reader, node, ++number);
		if (err == -ENOMEM)
			return err;
		if (err)
			result = err;
	}
	return result;
}
