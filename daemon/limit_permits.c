#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/limit_parts.h"

/* There is plenty again when each worker can have so many. */
#define PLENTY 8

static bool owns_a_handle(const struct limit *m, const struct child *c)
{
	for (size_t i = 0; i < m->listener->n_handles; i++)
		if (m->listener->handles[i].owner == c)
			return true;
	return false;
}

/* Whether a worker is to have permits. */
static bool is_able(const struct limit *m, const struct limit_row *row)
{
	if (row->child->state != CHILD_READY || row->child->process.channel.fd == -1)
		return false;
	return !listener_has_owners(m->listener) || owns_a_handle(m, row->child);
}

static bool is_capped(const struct limit *m, const struct limit_row *row)
{
	return m->ledger.cap > 0 && row->account.held >= m->ledger.cap;
}

/* Whether it may have more and is there to use it. */
static bool is_apt(const struct limit *m, const struct limit_row *row)
{
	return is_able(m, row) && !row->late && !is_capped(m, row);
}

static uint32_t count_apt(const struct limit *m)
{
	uint32_t count = 0;

	for (size_t i = 0; i < m->n_rows; i++)
		count += is_apt(m, &m->rows[i]);
	return count;
}

/* Whether an answer is to come soon: until then nothing is known for sure. */
bool permits_are_awaited(const struct limit *m)
{
	for (size_t i = 0; i < m->n_rows; i++)
		if (ledger_waits(&m->rows[i].account) && !m->rows[i].late)
			return true;
	return false;
}

static void be_patient(struct limit *m)
{
	if (ev_is_active(&m->patience) || !permits_are_awaited(m))
		return;
	ev_now_update(m->loop);
	ev_timer_set(&m->patience, LIMIT_PATIENCE_MS / 1000.0, 0);
	ev_timer_start(m->loop, &m->patience);
}

/* Gives up to count, and lets it keep so many: 0 is for who waits now. Returns how many it got. */
static uint32_t give(struct limit *m, struct limit_row *row, uint32_t count, bool may_keep)
{
	uint32_t room = ledger_room(&m->ledger, &row->account);
	uint32_t given = count < room ? count : room;
	uint32_t keep = may_keep ? row->account.held + given : 0;

	given = ledger_grant(&m->ledger, &row->account, given, keep);
	const struct ipc_permit message = {
		.listener = m->listener->source.id,
		.serial = row->account.serial,
		.granted = row->account.granted,
		.keep = keep,
	};
	int error = child_send(row->child, IPC_PERMIT, &message, NULL, 0, NULL);

	row->asked_ms = clock_ms();
	row->late = false;
	if (error < 0 && error != -EPIPE) {
		log_error("%s cannot be told of its permits for listener \"%s\": %s; killing it",
			  child_name(row->child), m->listener->config->name, strerror(-error));
		child_kill(row->child);
	}
	return given;
}

/* Whether it would accept and cannot, as far as it has told. */
static bool has_run_out(const struct limit *m, const struct limit_row *row)
{
	const struct account *a = &row->account;

	return is_able(m, row) && !ledger_waits(a) && a->used == a->held;
}

/* An equal part of what is free; a newcomer is to have as many as the others. */
static bool top_up(struct limit *m, struct limit_row *row)
{
	uint32_t apt = count_apt(m);
	uint32_t part = ledger_free(&m->ledger) / apt;
	uint32_t share = m->ledger.limit / apt;

	if (row->account.held < share && part < share - row->account.held)
		part = share - row->account.held;
	return give(m, row, part > 0 ? part : 1, true) > 0;
}

static void become_scarce(struct limit *m)
{
	m->scarce = true;
	for (size_t i = 0; i < m->n_rows; i++)
		if (is_able(m, &m->rows[i]) && m->rows[i].account.keep > 0)
			give(m, &m->rows[i], 0, false);
}

/* It will say when it is so no longer, for meanwhile clients are turned away. */
static void note_capped(struct limit *m, struct limit_row *row)
{
	if (m->listener->config->overflow != OVERFLOW_QUEUE && row->account.keep > 0)
		give(m, row, 0, false);
}

static void top_up_all(struct limit *m)
{
	for (size_t i = 0; i < m->n_rows; i++) {
		struct limit_row *row = &m->rows[i];

		if (!has_run_out(m, row))
			continue;
		if (is_capped(m, row)) {
			note_capped(m, row);
			continue;
		}
		if (ledger_room(&m->ledger, &row->account) == 0) {
			become_scarce(m);
			return;
		}
		top_up(m, row);
	}
}

void permits_spread(struct limit *m)
{
	uint32_t apt = count_apt(m);
	uint32_t part = apt > 0 ? ledger_free(&m->ledger) / apt : 0;
	uint32_t rest = apt > 0 ? ledger_free(&m->ledger) % apt : 0;

	for (size_t i = 0; i < m->n_rows; i++) {
		if (!is_apt(m, &m->rows[i]))
			continue;
		give(m, &m->rows[i], part + (rest > 0), true);
		rest -= rest > 0;
	}
}

static bool is_plenty(const struct limit *m)
{
	uint32_t apt = count_apt(m);

	return apt > 0 && ledger_free(&m->ledger) / apt >= PLENTY && !permits_are_awaited(m);
}

static bool accepts_on(const struct limit *m, const struct limit_row *row, size_t handle)
{
	return is_able(m, row) && (!listener_has_owners(m->listener) ||
				   m->listener->handles[handle].owner == row->child);
}

/* Who is to accept on a socket: of a shared one the worker that has the fewest. */
struct limit_row *permits_choose(const struct limit *m, size_t handle)
{
	struct limit_row *best = NULL;

	if (!listener_has_owners(m->listener) && permits_are_awaited(m))
		return NULL;
	for (size_t i = 0; i < m->n_rows; i++) {
		struct limit_row *row = &m->rows[i];

		if (!accepts_on(m, row, handle) || ledger_waits(&row->account) ||
		    ledger_room(&m->ledger, &row->account) == 0)
			continue;
		if (!best || row->account.held < best->account.held)
			best = row;
	}
	return best;
}

/* As many as everybody's part of what is free, or the one that is left. */
void permits_give(struct limit *m, struct limit_row *row)
{
	uint32_t part = ledger_free(&m->ledger) / count_apt(m);

	give(m, row, part > 0 ? part : 1, false);
}

/* Whether all that accept on a socket have as many as they may, and said so. */
bool permits_are_capped(const struct limit *m, size_t handle)
{
	bool capped = false;

	for (size_t i = 0; i < m->n_rows; i++) {
		const struct limit_row *row = &m->rows[i];

		if (!accepts_on(m, row, handle) || row->late)
			continue;
		if (!is_capped(m, row) || row->account.used < row->account.held ||
		    row->account.keep > 0)
			return false;
		capped = true;
	}
	return capped;
}

void permits_update(struct limit *m)
{
	if (!m->scarce)
		top_up_all(m);
	if (m->scarce && is_plenty(m)) {
		m->scarce = false;
		permits_spread(m);
	}
	be_patient(m);
}
