#include "daemon/config_map.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/config_yaml.h"
#include "daemon/suggest.h"

#define TEXT_SIZE        512
#define QUOTED_SIZE      64
#define DESCRIPTION_SIZE (QUOTED_SIZE + 8)

static bool is_null(const yaml_node_t *node)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;

	for (size_t i = 0; i < ARRAY_LEN(nulls); i++)
		if (strcmp((const char *)node->data.scalar.value, nulls[i]) == 0)
			return true;

	return false;
}

const char *config_scalar(const yaml_node_t *node)
{
	if (node->type != YAML_SCALAR_NODE || is_null(node))
		return NULL;

	const char *text = (const char *)node->data.scalar.value;
	return strlen(text) == node->data.scalar.length ? text : NULL;
}

yaml_node_t *config_node(const struct config_reader *reader, int index)
{
	return yaml_document_get_node(reader->document, index);
}

int config_complain(struct config_reader *reader, const yaml_node_t *at, const char *format, ...)
{
	struct config_mark mark = config_yaml_mark(&reader->file, &at->start_mark);
	char text[TEXT_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	config_errors_add(reader->errors, &mark, "%s%s%s", reader->context ? reader->context : "",
			  reader->context ? ": " : "", text);
	return -EINVAL;
}

/* `a list`, `"abc"`: what stands there, for the end of a complaint. */
static void describe(const yaml_node_t *value, char ret[DESCRIPTION_SIZE])
{
	const char *text = (const char *)value->data.scalar.value;

	if (value->type == YAML_SEQUENCE_NODE)
		snprintf(ret, DESCRIPTION_SIZE, "a list");
	else if (value->type == YAML_MAPPING_NODE)
		snprintf(ret, DESCRIPTION_SIZE, "a map");
	else if (strlen(text) != value->data.scalar.length)
		snprintf(ret, DESCRIPTION_SIZE, "a text with a NUL byte");
	else
		snprintf(ret, DESCRIPTION_SIZE, "\"%.*s\"%s", QUOTED_SIZE, text,
			 strlen(text) > QUOTED_SIZE ? "..." : "");
}

int config_refuse(struct config_reader *reader, const char *key, const yaml_node_t *value,
		  const char *expected)
{
	char description[DESCRIPTION_SIZE];

	if (value->type == YAML_SCALAR_NODE && is_null(value))
		return config_complain(reader, value, "\"%s\" has no value; it must be %s", key,
				       expected);

	describe(value, description);
	return config_complain(reader, value, "\"%s\" must be %s, not %s", key, expected,
			       description);
}

/* Only keys that would be accepted are suggested. */
static int complain_of_unknown(struct config_reader *reader, const yaml_node_t *node,
			       const char *name, const struct config_key *keys, size_t n_keys)
{
	struct suggestion suggestion;

	suggestion_init(&suggestion, name);
	for (size_t i = 0; i < n_keys; i++)
		if (keys[i].read)
			suggestion_offer(&suggestion, keys[i].name);

	if (!suggestion.best)
		return config_complain(reader, node, "unknown key \"%.64s\"", name);
	return config_complain(reader, node, "unknown key \"%.64s\"; did you mean \"%s\"?", name,
			       suggestion.best);
}

static size_t find_key(const struct config_key *keys, size_t n_keys, const char *name)
{
	size_t i = 0;

	while (i < n_keys && strcmp(keys[i].name, name) != 0)
		i++;
	return i;
}

static int read_pair(struct config_reader *reader, const yaml_node_t *node,
		     const yaml_node_t *value, const struct config_key *keys, size_t n_keys,
		     void *target, const yaml_node_t **given)
{
	const char *name = config_scalar(node);

	if (!name)
		return config_complain(reader, node, "a key must be a word");

	size_t i = find_key(keys, n_keys, name);
	if (i == n_keys)
		return complain_of_unknown(reader, node, name, keys, n_keys);
	if (given[i])
		return config_complain(reader, node, "\"%s\" stands here twice, first in line %zu",
				       name, given[i]->start_mark.line + 1);

	given[i] = node;
	if (!keys[i].read)
		return config_complain(reader, node, "\"%s\" is not yet supported", name);
	return keys[i].read(reader, &keys[i], value, target);
}

int config_map_read(struct config_reader *reader, const yaml_node_t *map,
		    const struct config_key *keys, size_t n_keys, void *target,
		    const yaml_node_t **ret_given)
{
	int result = 0;

	assert(map->type == YAML_MAPPING_NODE);
	for (size_t i = 0; i < n_keys; i++)
		ret_given[i] = NULL;

	for (const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
	     pair < map->data.mapping.pairs.top; pair++) {
		int err = read_pair(reader, config_node(reader, pair->key),
				    config_node(reader, pair->value), keys, n_keys, target,
				    ret_given);
		if (err == -ENOMEM)
			return err;
		if (err)
			result = err;
	}

	return result;
}
