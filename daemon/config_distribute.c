#include "daemon/config_distribute.h"

#include <string.h>

#include "daemon/config.h"
#include "daemon/suggest.h"

static int refuse_name(struct config_reader *reader, const yaml_node_t *node, const char *name)
{
	struct suggestion suggestion;

	suggestion_init(&suggestion, name);
	for (unsigned int way = 0; way < DISTRIBUTE_END; way++)
		suggestion_offer(&suggestion, distribute_name(way));

	if (!suggestion.best)
		return config_complain(reader, node, "unknown way to distribute \"%.64s\"", name);
	return config_complain(reader, node,
			       "unknown way to distribute \"%.64s\"; did you mean \"%s\"?", name,
			       suggestion.best);
}

int config_read_distribute(struct config_reader *reader, const struct config_key *key,
			   const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *name = config_scalar(value);

	if (!name)
		return config_refuse(reader, key->name, value,
				     "the name of a way to distribute connections");
	return distribute_find(name, &listener->distribute) ? refuse_name(reader, value, name) : 0;
}

int config_read_hash(struct config_reader *reader, const struct config_key *key,
		     const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *name = config_scalar(value);

	listener->hash_port = name && strcmp(name, "address-port") == 0;
	if (listener->hash_port || (name && strcmp(name, "address") == 0))
		return 0;
	return config_refuse(reader, key->name, value, "\"address\" or \"address-port\"");
}

/* Why a way does not go with a kind of address; NULL: it does. */
static const char *why_not(enum distribute way, enum config_listener_kind kind)
{
	bool is_unix = kind == CONFIG_PATH || kind == CONFIG_ABSTRACT;

	if (way == DISTRIBUTE_SOURCE_HASH && is_unix)
		return "the clients of a Unix socket have no address";
	if (way != DISTRIBUTE_REUSE_PORT || kind == CONFIG_HOST_PORT)
		return NULL;
	return is_unix ? "a Unix socket has no second one beside it"
		       : "a socket that is passed is one, and usherd opens no others";
}

int config_check_distribute(struct config_reader *reader, const struct config_listener *listener,
			    const struct config_distribute_nodes *nodes)
{
	enum distribute way = listener->distribute;
	const char *why = why_not(way, listener->kind);
	int result = 0;

	if (nodes->exclusive && listener->exclusive && way != DISTRIBUTE_SHARED)
		result = config_complain(reader, nodes->exclusive,
					 "\"exclusive\" and \"distribute: %s\" exclude each other",
					 distribute_name(way));
	if (nodes->distribute && why)
		result = config_complain(reader, nodes->distribute,
					 "\"distribute: %s\" is impossible here: %s",
					 distribute_name(way), why);
	if (nodes->hash && way != DISTRIBUTE_SOURCE_HASH)
		result = config_complain(reader, nodes->hash,
					 "\"hash\" goes only with \"distribute: source-hash\"");
	return result;
}
