#include "daemon/config_handler.h"

#include <string.h>

#include "daemon/config.h"
#include "daemon/suggest.h"

static const char expected[] = "the name of a handler or a map of its name to its text";

/* Handlers that later versions have. */
static const char *const later[] = {"proxy", "exec", "program"};

static int refuse_name(struct config_reader *reader, const yaml_node_t *node, const char *name)
{
	struct suggestion suggestion;

	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		if (strcmp(later[i], name) == 0)
			return config_complain(reader, node, "handler \"%s\" is not yet supported",
					       name);

	suggestion_init(&suggestion, name);
	for (unsigned int kind = 0; kind < HANDLER_KIND_END; kind++)
		suggestion_offer(&suggestion, handler_name(kind));

	if (!suggestion.best)
		return config_complain(reader, node, "unknown handler \"%.64s\"", name);
	return config_complain(reader, node, "unknown handler \"%.64s\"; did you mean \"%s\"?",
			       name, suggestion.best);
}

static int read_name(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *node, enum handler_kind *ret)
{
	const char *name = config_scalar(node);

	if (!name)
		return config_refuse(reader, key->name, node, expected);

	return handler_find(name, ret) ? refuse_name(reader, node, name) : 0;
}

/* The text may hold any byte. */
static int read_text(struct config_reader *reader, const yaml_node_t *node, const char *name,
		     struct config_listener *listener)
{
	if (node->type != YAML_SCALAR_NODE)
		return config_complain(reader, node, "the text of handler \"%s\" must be one value",
				       name);

	size_t size = node->data.scalar.length;
	if (size == 0)
		return config_complain(reader, node, "the text of handler \"%s\" is empty", name);
	if (size > HANDLER_TEXT_MAX)
		return config_complain(reader, node,
				       "the text of handler \"%s\" has %zu bytes; %d are possible",
				       name, size, HANDLER_TEXT_MAX);

	char *copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, node->data.scalar.value, size);
	copy[size] = '\0';

	free(listener->handler_text);
	listener->handler_text = copy;
	listener->handler_text_size = size;
	return 0;
}

static int read_bare(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *node, struct config_listener *listener)
{
	enum handler_kind kind = HANDLER_KIND_END;

	int err = read_name(reader, key, node, &kind);
	if (err)
		return err;
	if (handler_takes_text(kind))
		return config_complain(reader, node,
				       "handler \"%s\" needs a text, as in {%s: \"hello\\n\"}",
				       handler_name(kind), handler_name(kind));

	listener->handler = kind;
	return 0;
}

int config_read_handler(struct config_reader *reader, const struct config_key *key,
			const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	enum handler_kind kind = HANDLER_KIND_END;

	if (value->type != YAML_MAPPING_NODE)
		return read_bare(reader, key, value, listener);

	const yaml_node_pair_t *pair = value->data.mapping.pairs.start;
	if (value->data.mapping.pairs.top - pair != 1)
		return config_complain(reader, value, "\"%s\" must name one handler", key->name);

	int err = read_name(reader, key, config_node(reader, pair->key), &kind);
	if (err)
		return err;
	if (!handler_takes_text(kind))
		return config_complain(reader, config_node(reader, pair->value),
				       "handler \"%s\" takes no text", handler_name(kind));

	err = read_text(reader, config_node(reader, pair->value), handler_name(kind), listener);
	if (!err)
		listener->handler = kind;
	return err;
}
