#include "worker/copies.h"

#include <stdlib.h>
#include <string.h>

/* Descriptors for which there is room at first. */
#define SIZE_MIN 256

void copies_init(struct copies *c, const struct claims *claims)
{
	*c = (struct copies){.claims = claims};
}

void copies_done(struct copies *c)
{
	free(c->numbers);
	c->numbers = NULL;
	c->size = 0;
}

static bool grow(struct copies *c, size_t fd)
{
	size_t size = c->size ? c->size : SIZE_MIN;
	uint32_t *numbers;

	while (size <= fd)
		size *= 2;
	numbers = reallocarray(c->numbers, size, sizeof(*numbers));
	if (!numbers)
		return false;
	memset(numbers + c->size, 0, (size - c->size) * sizeof(*numbers));
	c->numbers = numbers;
	c->size = size;
	return true;
}

void copies_add(struct copies *c, int fd, uint32_t number)
{
	if ((size_t)fd < c->size || grow(c, (size_t)fd))
		c->numbers[fd] = number;
}

uint32_t copies_number(const struct copies *c, int fd)
{
	uint32_t number = (size_t)fd < c->size ? c->numbers[fd] : 0;

	return number != 0 && claims_is_held(c->claims, number) ? number : 0;
}

void copies_remove(struct copies *c, int fd)
{
	if ((size_t)fd < c->size)
		c->numbers[fd] = 0;
}
