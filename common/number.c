#include "common/number.h"

#include <errno.h>
#include <stdlib.h>

int number_parse(const char *text, uint64_t max, uint64_t *ret)
{
	unsigned long long number;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno || number > max)
		return -ERANGE;

	*ret = number;
	return 0;
}
