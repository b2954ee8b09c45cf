#include "daemon/config_limit.h"

#include "daemon/config.h"

int config_read_overflow(struct config_reader *reader, const struct config_key *key,
			 const yaml_node_t *value, void *target)
{
	struct config_listener *listener = target;
	const char *name = config_scalar(value);

	if (name && overflow_find(name, &listener->overflow) == 0)
		return 0;
	return config_refuse(reader, key->name, value, "\"queue\", \"drop\" or \"reset\"");
}

int config_check_limit(struct config_reader *reader, const struct config_listener *listener,
		       const struct config_limit_nodes *nodes)
{
	bool is_unix = listener->kind == CONFIG_PATH || listener->kind == CONFIG_ABSTRACT;

	if (!nodes->overflow)
		return 0;
	if (!nodes->max_connections && !nodes->max_per_worker)
		return config_complain(reader, nodes->overflow,
				       "\"overflow\" goes only with \"max_connections\" or "
				       "\"max_connections_per_worker\"");
	if (listener->overflow == OVERFLOW_RESET && is_unix)
		return config_complain(reader, nodes->overflow,
				       "\"overflow: reset\" is impossible here: a Unix socket "
				       "knows no reset");
	return 0;
}
