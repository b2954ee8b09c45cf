#include "daemon/distribute.h"

#include <string.h>

#include "common/macros.h"

static const char *const names[DISTRIBUTE_END] = {
#define X(name, text) [DISTRIBUTE_##name] = (text),
	DISTRIBUTE_TABLE(X)
#undef X
};

const char *distribute_name(unsigned int way)
{
	return names[way];
}

int distribute_find(const char *name, enum distribute *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) != 0)
			continue;
		*ret = (enum distribute)i;
		return 0;
	}
	return -ENOENT;
}
