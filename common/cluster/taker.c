#include "common/cluster/taker.h"

#include <stdlib.h>
#include <string.h>

#include "common/macros.h"

struct taker_row {
	uint32_t id;
	uint32_t connections;
	uint32_t tally; /* 0: none */
	uint32_t given; /* and not come back; wraps around */
};

void taker_init(struct taker *t, unsigned int rank, struct channel *channel)
{
	*t = (struct taker){.rank = rank, .channel = channel};
	handoff_init(&t->handoff);
}

void taker_done(struct taker *t)
{
	handoff_done(&t->handoff);
	taker_leave_all(t);
}

/* The index of the row, or of where it would be. */
static size_t find(const struct taker *t, uint32_t id)
{
	size_t low = 0, high = t->n_rows;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (t->rows[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct taker_row *row_of(const struct taker *t, uint32_t id)
{
	size_t i = find(t, id);

	return i < t->n_rows && t->rows[i].id == id ? &t->rows[i] : NULL;
}

int taker_join(struct taker *t, uint32_t id)
{
	size_t i = find(t, id);
	struct taker_row *rows;

	if (row_of(t, id))
		return 0;
	rows = reallocarray(t->rows, t->n_rows + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	memmove(rows + i + 1, rows + i, (t->n_rows - i) * sizeof(*rows));
	rows[i] = (struct taker_row){.id = id};
	t->rows = rows;
	t->n_rows++;
	return 0;
}

void taker_leave(struct taker *t, uint32_t id)
{
	struct taker_row *row = row_of(t, id);

	if (!row)
		return;
	t->n_rows--;
	memmove(row, row + 1, (size_t)(t->rows + t->n_rows - row) * sizeof(*row));
}

void taker_leave_all(struct taker *t)
{
	free(t->rows);
	t->rows = NULL;
	t->n_rows = 0;
	t->last_tally = 0;
}

bool taker_has_joined(const struct taker *t, uint32_t id)
{
	return row_of(t, id);
}

uint32_t taker_use_tally(struct taker *t, uint32_t id)
{
	struct taker_row *row = row_of(t, id);

	/* A tally is not used again: connections of its last source may still end. */
	if (row && row->tally == 0 && t->last_tally < CLAIMS_TALLIES)
		row->tally = ++t->last_tally;
	return row ? row->tally : 0;
}

void taker_gave(struct taker *t, uint32_t id)
{
	struct taker_row *row = row_of(t, id);

	if (row)
		row->given++;
}

void taker_got_back(struct taker *t, uint32_t id)
{
	struct taker_row *row = row_of(t, id);

	if (row)
		row->given--;
}

static bool is_tallied(const struct taker *t, const struct taker_row *row)
{
	return row && row->tally != 0 && t->handoff.claims.page;
}

/* A worker may say anything, but not that it has less than none. */
static uint32_t tallied(const struct taker *t, const struct taker_row *row)
{
	uint32_t left = row->given - claims_ended(&t->handoff.claims, row->tally);

	return left <= INT32_MAX ? left : 0;
}

uint32_t taker_load(const struct taker *t, uint32_t id)
{
	const struct taker_row *row = row_of(t, id);

	return is_tallied(t, row) ? tallied(t, row)
				  : taker_connections(t, id) + handoff_unanswered(&t->handoff);
}

void taker_count(const struct taker *t, uint32_t *counts, size_t n_counts)
{
	for (size_t id = 0; id < n_counts; id++)
		counts[id] = 0;
	transit_count(&t->handoff.transits, counts, n_counts);
	for (size_t i = 0; i < t->n_rows && t->rows[i].id < n_counts; i++) {
		const struct taker_row *row = &t->rows[i];

		if (is_tallied(t, row))
			counts[row->id] = tallied(t, row);
		else
			counts[row->id] += row->connections;
	}
}

bool taker_is_able(const struct taker *t)
{
	return t->ready && t->channel->fd != -1 && handoff_has_room(&t->handoff);
}

uint32_t taker_connections(const struct taker *t, uint32_t id)
{
	const struct taker_row *row = row_of(t, id);

	return row ? row->connections : 0;
}

void taker_set_connections(struct taker *t, uint32_t id, uint32_t connections)
{
	struct taker_row *row = row_of(t, id);

	if (row)
		row->connections = connections;
}
