#include "common/macros.h"
#include "daemon/limit_parts.h"

static struct limit *limit_of(const struct source *source)
{
	return CONTAINER_OF(source, struct listener, source)->limit;
}

static struct child *child_of(const struct taker *taker)
{
	return CONTAINER_OF(taker, struct child, taker);
}

static struct limit_row *row_of_handoff(const struct limit *m, struct handoff *handoff)
{
	return limit_row_of(m, child_of(CONTAINER_OF(handoff, struct taker, handoff)));
}

static bool is_open(const struct source *source)
{
	return ledger_free(&limit_of(source)->ledger) > 0;
}

static bool has_room(const struct source *source, const struct taker *taker)
{
	const struct limit *m = limit_of(source);

	if (m->ledger.cap == 0)
		return true;
	const struct limit_row *row = limit_row_of(m, child_of(taker));

	return row && row->account.held + handoff_count_of(&taker->handoff, source) < m->ledger.cap;
}

static void accepted(struct source *source)
{
	ledger_take(&limit_of(source)->ledger);
}

static void closed(struct source *source)
{
	ledger_put_back(&limit_of(source)->ledger);
}

static void taken(struct source *source, struct handoff *handoff)
{
	struct limit *m = limit_of(source);

	ledger_arrive(&m->ledger, &row_of_handoff(m, handoff)->account);
}

static void late(struct source *source, struct handoff *handoff)
{
	row_of_handoff(limit_of(source), handoff)->account.ghosts++;
}

/* Whether all that can take connections have as many as they may. */
bool meter_is_capped(const struct limit *m)
{
	bool capped = false;

	for (size_t i = 0; i < m->n_rows; i++) {
		const struct taker *taker = &m->rows[i].child->taker;

		if (!taker_is_able(taker))
			continue;
		if (has_room(&m->listener->source, taker))
			return false;
		capped = true;
	}
	return capped;
}

static void reckoned(struct source *source)
{
	limit_watch(limit_of(source));
}
const struct source_meter limit_meter = {
	.is_open = is_open,
	.has_room = has_room,
	.accepted = accepted,
	.closed = closed,
	.taken = taken,
	.late = late,
	.reckoned = reckoned,
};
