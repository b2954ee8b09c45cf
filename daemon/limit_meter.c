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

static bool is_within_cap(const struct limit *m, const struct taker *taker, uint32_t on_its_way)
{
	const struct limit_row *row = limit_row_of(m, child_of(taker));

	return m->ledger.cap == 0 || (row && row->account.held + on_its_way < m->ledger.cap);
}

/* One that is stopped must not get hold of all permits before that is known. Where a client has its
 * worker it waits. */
static bool is_within_part(const struct limit *m, uint32_t on_its_way)
{
	return on_its_way == 0 || m->listener->source.policy == POLICY_SOURCE_HASH ||
	       on_its_way < m->ledger.limit / (2 * m->n_rows + 1);
}

static bool has_room(const struct source *source, const struct taker *taker)
{
	const struct limit *m = limit_of(source);
	uint32_t on_its_way = handoff_count_of(&taker->handoff, source);

	return is_within_cap(m, taker, on_its_way) && is_within_part(m, on_its_way);
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
		if (is_within_cap(m, taker,
				  handoff_count_of(&taker->handoff, &m->listener->source)))
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
