#include "common/cluster/handed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Descriptors for which there is room at first. */
#define SIZE_MIN 256

struct handed_row {
	uint32_t number; /* 0: none, or one whose copy is not worth asking for */
	uint32_t tally;
	bool elsewhere;
};

void handed_init(struct handed *h, struct claims *claims)
{
	*h = (struct handed){.claims = claims};
}

void handed_done(struct handed *h)
{
	free(h->rows);
	h->rows = NULL;
	h->size = 0;
}

static int grow(struct handed *h, size_t fd)
{
	size_t size = h->size ? h->size : SIZE_MIN;
	struct handed_row *rows;

	while (size <= fd)
		size *= 2;
	rows = reallocarray(h->rows, size, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	memset(rows + h->size, 0, (size - h->size) * sizeof(*rows));
	h->rows = rows;
	h->size = size;
	return 0;
}

int handed_add(struct handed *h, int fd, uint32_t number, uint32_t tally, bool elsewhere)
{
	int error = (size_t)fd < h->size ? 0 : grow(h, (size_t)fd);

	if (error == 0)
		h->rows[fd] = (struct handed_row){number, tally, elsewhere};
	return error;
}

bool handed_is_elsewhere(const struct handed *h, int fd)
{
	return (size_t)fd < h->size && h->rows[fd].elsewhere;
}

uint32_t handed_copy(const struct handed *h, int fd)
{
	uint32_t number = (size_t)fd < h->size ? h->rows[fd].number : 0;

	return number != 0 && claims_is_held(h->claims, number) ? number : 0;
}

void handed_remove(struct handed *h, int fd)
{
	if ((size_t)fd >= h->size)
		return;
	claims_count_end(h->claims, h->rows[fd].tally);
	h->rows[fd] = (struct handed_row){0};
}
