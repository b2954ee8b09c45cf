#include "daemon/distribute.h"

#include <string.h>

#include "common/macros.h"

static const struct {
	const char *name;
	enum policy policy;
} ways[DISTRIBUTE_END] = {
#define X(way, name, policy) [DISTRIBUTE_##way] = {name, policy},
	DISTRIBUTE_TABLE(X)
#undef X
};

const char *distribute_name(unsigned int way)
{
	return ways[way].name;
}

bool distribute_hands_off(enum distribute way)
{
	return ways[way].policy != POLICY_NONE;
}

enum policy distribute_policy(enum distribute way)
{
	return ways[way].policy;
}

int distribute_find(const char *name, enum distribute *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		if (strcmp(ways[i].name, name) != 0)
			continue;
		*ret = (enum distribute)i;
		return 0;
	}
	return -ENOENT;
}
