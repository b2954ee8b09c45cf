#include "daemon/utf8.h"

#include <string.h>

#include "common/macros.h"

void utf8_mend(char *text)
{
	json_t *string = json_string(text);

	for (char *c = text; !string && *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	json_decref(string);
}

json_t *utf8_json(const char *text)
{
	AUTO_FREE char *copy = strdup(text);

	if (!copy)
		return NULL;
	utf8_mend(copy);
	return json_string(copy);
}
