#include "daemon/config_allow.h"

#include <string.h>

#include "daemon/config.h"
#include "daemon/config_address.h"
#include "daemon/config_value.h"

#define HOST_SIZE 256

static const char expected[] =
	"a port (8080), ports (8000-8099), HOST:PORT, an absolute path or \"@name\"";

static int refuse(struct config_reader *reader, const yaml_node_t *node)
{
	return config_refuse(reader, "allow_listen[]", node, expected);
}

/* PORT or FIRST-LAST; returns whether it is that. */
static bool read_ports(const char *text, struct config_allow *allow)
{
	unsigned long first, last;
	size_t n = config_digits(text, UINT16_MAX, &first);

	if (n == 0)
		return false;
	last = first;
	if (text[n] == '-') {
		text += n + 1;
		n = config_digits(text, UINT16_MAX, &last);
		if (n == 0 || last < first)
			return false;
	}
	allow->first = (uint16_t)first;
	allow->last = (uint16_t)last;
	return text[n] == '\0';
}

/* Takes the brackets of an IPv6 address away. */
static bool copy_host(const char *text, size_t size, char host[HOST_SIZE])
{
	if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
		text++;
		size -= 2;
	} else if (memchr(text, ':', size)) {
		return false;
	}
	if (size == 0 || size >= HOST_SIZE)
		return false;
	memcpy(host, text, size);
	host[size] = '\0';
	return !config_better_host(host);
}

static int read_address(struct config_reader *reader, const yaml_node_t *node, const char *text,
			struct config_allow *allow)
{
	const char *colon = strrchr(text, ':');
	char host[HOST_SIZE];

	allow->kind = CONFIG_ALLOW_PORTS;
	if (!read_ports(colon ? colon + 1 : text, allow))
		return refuse(reader, node);
	if (!colon)
		return 0;
	if (!copy_host(text, (size_t)(colon - text), host))
		return refuse(reader, node);
	return config_replace(&allow->text, host);
}

/* What is not the shortest way to say a path would never be found again. */
static bool is_plain_path(const char *path)
{
	size_t size = strlen(path);

	return !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../") &&
	       !(size >= 2 && strcmp(path + size - 2, "/.") == 0) &&
	       !(size >= 3 && strcmp(path + size - 3, "/..") == 0);
}

static int read_path(struct config_reader *reader, const yaml_node_t *node, const char *text,
		     struct config_allow *allow)
{
	size_t size = strlen(text);

	allow->kind = text[0] == '@' ? CONFIG_ALLOW_ABSTRACT : CONFIG_ALLOW_PATH;
	if (allow->kind == CONFIG_ALLOW_ABSTRACT ? size == 1 : !is_plain_path(text))
		return refuse(reader, node);

	int err = config_replace(&allow->text, text);
	if (!err && allow->kind == CONFIG_ALLOW_PATH && size > 1 && text[size - 1] == '/')
		allow->text[size - 1] = '\0';
	return err;
}

static int read_item(struct config_reader *reader, const yaml_node_t *node,
		     struct config_allow *allow)
{
	static const struct config_key item = {.name = "allow_listen[]"};
	const char *text;

	*allow = (struct config_allow){.text = NULL};
	int err = config_text(reader, &item, node, expected, &text);
	if (err)
		return err;
	return text[0] == '/' || text[0] == '@' ? read_path(reader, node, text, allow)
						: read_address(reader, node, text, allow);
}

static void forget_former(struct config *config)
{
	for (size_t i = 0; i < config->n_allow; i++)
		config_allow_done(&config->allow[i]);
	config->n_allow = 0;
}

int config_read_allow_listen(struct config_reader *reader, const struct config_key *key,
			     const yaml_node_t *value, void *target)
{
	struct config *config = target;
	int result = 0;

	if (value->type != YAML_SEQUENCE_NODE)
		return config_refuse(reader, key->name, value, "a list");
	if (!config->allow)
		config->allow = calloc(CONFIG_ALLOW_MAX, sizeof(*config->allow));
	if (!config->allow)
		return -ENOMEM;

	forget_former(config);
	config->has_allow = true;
	for (const yaml_node_item_t *item = value->data.sequence.items.start;
	     item < value->data.sequence.items.top; item++) {
		const yaml_node_t *node = config_node(reader, *item);

		if (config->n_allow == CONFIG_ALLOW_MAX)
			return config_complain(reader, node, "\"%s\" has more than %d items",
					       key->name, CONFIG_ALLOW_MAX);

		int err = read_item(reader, node, &config->allow[config->n_allow++]);
		if (err == -ENOMEM)
			return err;
		if (err)
			result = err;
	}
	return result;
}

void config_allow_done(struct config_allow *allow)
{
	free(allow->text);
	allow->text = NULL;
}
