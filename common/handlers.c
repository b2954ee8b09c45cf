#include "common/handlers.h"

#include <string.h>

#include "common/macros.h"

static const struct {
	const char *name;
	bool takes_text;
} handlers[] = {
#define X(kind, name, takes_text) [HANDLER_##kind] = {name, takes_text},
	HANDLER_TABLE(X)
#undef X
};

const char *handler_name(unsigned int kind)
{
	return kind < ARRAY_LEN(handlers) ? handlers[kind].name : "?";
}

bool handler_takes_text(enum handler_kind kind)
{
	return handlers[kind].takes_text;
}

int handler_find(const char *name, enum handler_kind *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
		if (strcmp(handlers[i].name, name) != 0)
			continue;
		*ret = (enum handler_kind)i;
		return 0;
	}

	return -ENOENT;
}
