#include "daemon/ledger.h"

#include <assert.h>
#include <errno.h>

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

uint32_t ledger_in_use(const struct ledger *l)
{
	return l->held + l->in_transit;
}

uint32_t ledger_free(const struct ledger *l)
{
	uint32_t in_use = ledger_in_use(l);

	return in_use < l->limit ? l->limit - in_use : 0;
}

uint32_t ledger_room(const struct ledger *l, const struct account *a)
{
	uint32_t room = ledger_free(l);

	if (l->cap == 0)
		return room;
	return a->held < l->cap ? smaller(room, l->cap - a->held) : 0;
}

bool ledger_take(struct ledger *l)
{
	if (ledger_free(l) == 0)
		return false;
	l->in_transit++;
	return true;
}

void ledger_put_back(struct ledger *l)
{
	assert(l->in_transit > 0);
	l->in_transit--;
}

void ledger_arrive(struct ledger *l, struct account *a)
{
	ledger_put_back(l);
	l->held++;
	a->held++;
}

uint32_t ledger_grant(struct ledger *l, struct account *a, uint32_t count, uint32_t keep)
{
	count = smaller(count, ledger_room(l, a));
	l->held += count;
	a->held += count;
	a->granted += count;
	a->keep = keep;
	a->serial++;
	return count;
}

bool ledger_waits(const struct account *a)
{
	return a->seen != a->serial;
}

static void lower(struct ledger *l, struct account *a, uint32_t held)
{
	l->held -= a->held - held;
	a->held = held;
}

/* What was given since it spoke is on its way to it. */
int ledger_tell(struct ledger *l, struct account *a, const struct holding *holding)
{
	uint32_t on_its_way = a->granted - holding->granted;

	if (holding->serial - a->seen > a->serial - a->seen || on_its_way > a->held ||
	    holding->kept > a->held - on_its_way || holding->used > holding->kept)
		return -EPROTO;
	a->seen = holding->serial;
	a->used = holding->used;
	lower(l, a, holding->kept + on_its_way);
	return 0;
}

int ledger_tell_ended(struct ledger *l, struct account *a, uint32_t ended)
{
	uint32_t count = ended - a->ended;

	if (count > a->held)
		return -EPROTO;
	a->ended = ended;
	lower(l, a, a->held - count);
	return 0;
}

void ledger_pass(struct ledger *l, struct account *from, struct account *to)
{
	uint32_t count = smaller(from->held, to->ghosts);

	from->held -= count;
	to->ghosts -= count;
	to->limbo += count;
}

bool ledger_free_ghosts(struct ledger *l, struct account *a)
{
	bool freed = a->limbo > 0;

	l->held -= a->limbo;
	a->limbo = a->ghosts = 0;
	return freed;
}

void ledger_bury(struct ledger *l, struct account *a)
{
	l->held -= a->held + a->limbo;
	*a = (struct account){0};
}
