#include "daemon/config_distribute.h"

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

/* Why there can be no second socket beside the listener's; NULL: there can. */
static const char *why_alone(enum config_listener_kind kind)
{
	static const char *const reasons[] = {
		[CONFIG_PATH] = "a Unix socket has no second one beside it",
		[CONFIG_ABSTRACT] = "a Unix socket has no second one beside it",
		[CONFIG_FD] = "a socket that is passed is one, and usherd opens no others",
		[CONFIG_SYSTEMD] = "a socket that is passed is one, and usherd opens no others",
	};

	return kind == CONFIG_HOST_PORT ? NULL : reasons[kind];
}

int config_check_distribute(struct config_reader *reader, const struct config_listener *listener,
			    const yaml_node_t *distribute, const yaml_node_t *exclusive)
{
	int result = 0;

	if (!distribute)
		return 0;
	if (listener->exclusive && listener->distribute != DISTRIBUTE_SHARED)
		result = config_complain(reader, exclusive,
					 "\"exclusive\" and \"distribute: %s\" exclude each other",
					 distribute_name(listener->distribute));
	if (listener->distribute == DISTRIBUTE_REUSE_PORT && why_alone(listener->kind))
		result = config_complain(reader, distribute,
					 "\"distribute: reuse-port\" goes only with \"port\": %s",
					 why_alone(listener->kind));
	return result;
}
