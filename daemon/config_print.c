#include "daemon/config.h"

#include <string.h>
#include <yaml.h>

#include "daemon/config_value.h"

#define VALUE_SIZE 32

/* Remembers the first failure, so that it need not be looked for after each of many values. */
struct printer {
	yaml_emitter_t emitter;
	bool failed;
};

static int write_bytes(void *out, unsigned char *bytes, size_t size)
{
	return fwrite(bytes, 1, size, out) == size;
}

/* Frees the event in any case. After a failure nothing more is written. */
static void emit(struct printer *printer, yaml_event_t *event, int initialised)
{
	if (!initialised)
		printer->failed = true;
	else if (printer->failed)
		yaml_event_delete(event);
	else
		printer->failed = !yaml_emitter_emit(&printer->emitter, event);
}

static void put_scalar(struct printer *printer, const char *text, size_t size,
		       yaml_scalar_style_t style)
{
	yaml_event_t event;

	emit(printer, &event,
	     yaml_scalar_event_initialize(&event, NULL, NULL, (yaml_char_t *)text, (int)size, 1, 1,
					  style));
}

static void put_plain(struct printer *printer, const char *text)
{
	put_scalar(printer, text, strlen(text), YAML_PLAIN_SCALAR_STYLE);
}

static void put_map(struct printer *printer)
{
	yaml_event_t event;

	emit(printer, &event,
	     yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
}

static void end_map(struct printer *printer)
{
	yaml_event_t event;

	emit(printer, &event, yaml_mapping_end_event_initialize(&event));
}

/* --- keys with values ------------------------------------------------------------------------- */

/* Quoted, since unquoted "null" or "~" would be no text. */
static void put_text(struct printer *printer, const char *key, const char *text)
{
	if (!text)
		return;

	put_plain(printer, key);
	put_scalar(printer, text, strlen(text), YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static void put_number(struct printer *printer, const char *key, long number)
{
	char text[VALUE_SIZE];

	snprintf(text, sizeof(text), "%ld", number);
	put_plain(printer, key);
	put_plain(printer, text);
}

static void put_duration(struct printer *printer, const char *key, unsigned int ms)
{
	char text[CONFIG_DURATION_SIZE];

	config_duration_text(ms, text);
	put_plain(printer, key);
	put_plain(printer, text);
}

static void put_flag(struct printer *printer, const char *key, bool flag)
{
	put_plain(printer, key);
	put_plain(printer, flag ? "true" : "false");
}

/* --- a listener ------------------------------------------------------------------------------- */

static void put_abstract(struct printer *printer, const char *name)
{
	char path[CONFIG_SOCKET_PATH_MAX + 2];

	snprintf(path, sizeof(path), "@%s", name);
	put_text(printer, "path", path);
}

static void put_address(struct printer *printer, const struct config_listener *listener)
{
	switch (listener->kind) {
	case CONFIG_HOST_PORT:
		put_text(printer, "host", listener->host);
		put_number(printer, "port", listener->port);
		put_flag(printer, "ipv6_only", listener->ipv6_only);
		break;
	case CONFIG_PATH:
		put_text(printer, "path", listener->path);
		break;
	case CONFIG_ABSTRACT:
		put_abstract(printer, listener->path);
		break;
	case CONFIG_FD:
		put_number(printer, "fd", listener->fd);
		break;
	case CONFIG_SYSTEMD:
		put_text(printer, "systemd", listener->systemd_name);
		break;
	}
}

/* Numbers, not names: they are what a socket's file gets. */
static void put_owner(struct printer *printer, const struct config_listener *listener)
{
	char user[VALUE_SIZE] = "", group[VALUE_SIZE] = "", owner[2 * VALUE_SIZE];

	if (listener->uid != (uid_t)-1)
		snprintf(user, sizeof(user), "%u", listener->uid);
	if (listener->gid != (gid_t)-1)
		snprintf(group, sizeof(group), ":%u", listener->gid);
	if (!user[0] && !group[0])
		return;

	snprintf(owner, sizeof(owner), "%s%s", user, group);
	put_text(printer, "owner", owner);
}

static void put_mode(struct printer *printer, const struct config_listener *listener)
{
	char mode[VALUE_SIZE];

	if (!listener->has_mode)
		return;

	snprintf(mode, sizeof(mode), "%04o", listener->mode);
	put_text(printer, "mode", mode);
}

static void put_distribute(struct printer *printer, const struct config_listener *listener)
{
	put_plain(printer, "distribute");
	put_plain(printer, distribute_name(listener->distribute));
	if (listener->distribute != DISTRIBUTE_SOURCE_HASH)
		return;

	put_plain(printer, "hash");
	put_plain(printer, listener->hash_port ? "address-port" : "address");
}

static void put_limit(struct printer *printer, const struct config_listener *listener)
{
	if (listener->max_connections > 0)
		put_number(printer, "max_connections", listener->max_connections);
	if (listener->max_connections_per_worker > 0)
		put_number(printer, "max_connections_per_worker",
			   listener->max_connections_per_worker);
	if (listener->max_connections == 0 && listener->max_connections_per_worker == 0)
		return;

	put_plain(printer, "overflow");
	put_plain(printer, overflow_name(listener->overflow));
}

static void put_handler(struct printer *printer, const struct config_listener *listener)
{
	put_plain(printer, "handler");
	if (!listener->handler_text) {
		put_plain(printer, handler_name(listener->handler));
		return;
	}

	put_map(printer);
	put_plain(printer, handler_name(listener->handler));
	put_scalar(printer, listener->handler_text, listener->handler_text_size,
		   YAML_DOUBLE_QUOTED_SCALAR_STYLE);
	end_map(printer);
}

static void put_listener(struct printer *printer, const struct config_listener *listener)
{
	put_map(printer);
	put_text(printer, "name", listener->name);
	put_address(printer, listener);
	put_mode(printer, listener);
	put_owner(printer, listener);
	put_number(printer, "backlog", listener->backlog);
	put_flag(printer, "exclusive", listener->exclusive);
	put_distribute(printer, listener);
	put_limit(printer, listener);
	put_handler(printer, listener);
	end_map(printer);
}

static void put_listeners(struct printer *printer, const struct config *config)
{
	yaml_event_t event;

	put_plain(printer, "listeners");
	emit(printer, &event,
	     yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
						  YAML_BLOCK_SEQUENCE_STYLE));
	for (size_t i = 0; i < config->n_listeners; i++)
		put_listener(printer, &config->listeners[i]);
	emit(printer, &event, yaml_sequence_end_event_initialize(&event));
}

/* --- what workers may listen on --------------------------------------------------------------- */

static void put_allow(struct printer *printer, const struct config_allow *allow)
{
	const char *host = allow->text ? allow->text : "";
	char text[256 + VALUE_SIZE];
	size_t size;

	if (allow->kind != CONFIG_ALLOW_PORTS) {
		put_scalar(printer, host, strlen(host), YAML_DOUBLE_QUOTED_SCALAR_STYLE);
		return;
	}
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:" : *host ? "%s:" : "%s", host);
	size = strlen(text);
	if (allow->first == allow->last)
		snprintf(text + size, sizeof(text) - size, "%u", allow->first);
	else
		snprintf(text + size, sizeof(text) - size, "%u-%u", allow->first, allow->last);
	put_scalar(printer, text, strlen(text), YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

static void put_allow_listen(struct printer *printer, const struct config *config)
{
	yaml_event_t event;

	if (!config->has_allow)
		return;
	put_plain(printer, "allow_listen");
	emit(printer, &event,
	     yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE));
	for (size_t i = 0; i < config->n_allow; i++)
		put_allow(printer, &config->allow[i]);
	emit(printer, &event, yaml_sequence_end_event_initialize(&event));
}

/* --- the whole -------------------------------------------------------------------------------- */

static void put_config(struct printer *printer, const struct config *config)
{
	put_map(printer);
	if (config->workers == 0) {
		put_plain(printer, "workers");
		put_plain(printer, "auto");
	} else {
		put_number(printer, "workers", config->workers);
	}
	put_text(printer, "user", config->user);
	put_text(printer, "control", config->control);
	put_duration(printer, "start_timeout", config->start_timeout_ms);
	put_duration(printer, "drain_timeout", config->drain_timeout_ms);
	put_duration(printer, "stop_timeout", config->stop_timeout_ms);
	put_allow_listen(printer, config);
	put_listeners(printer, config);
	end_map(printer);
}

static void put_document(struct printer *printer, const struct config *config)
{
	yaml_event_t event;

	emit(printer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(printer, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	put_config(printer, config);
	emit(printer, &event, yaml_document_end_event_initialize(&event, 1));
	emit(printer, &event, yaml_stream_end_event_initialize(&event));
}

int config_print(const struct config *config, FILE *out)
{
	struct printer printer = {.failed = false};

	if (!yaml_emitter_initialize(&printer.emitter))
		return -ENOMEM;
	yaml_emitter_set_output(&printer.emitter, write_bytes, out);
	yaml_emitter_set_unicode(&printer.emitter, 1);
	yaml_emitter_set_width(&printer.emitter, -1);

	put_document(&printer, config);
	bool out_of_memory = printer.emitter.error == YAML_MEMORY_ERROR;
	yaml_emitter_delete(&printer.emitter);

	if (out_of_memory)
		return -ENOMEM;
	return printer.failed || fflush(out) == EOF ? -EIO : 0;
}
