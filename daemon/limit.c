#include "daemon/limit.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/net/error.h"
#include "daemon/limit_parts.h"

/* Connections that are turned away in one wake-up. */
#define TURNED_AWAY_MAX 64

/* Without descriptors it is tried again after this. */
#define PAUSE_S 0.1

struct limit_watcher {
	ev_io io;
	struct limit *limit;
	size_t handle;
};

bool limit_hands_off(const struct limit *m)
{
	return distribute_hands_off(m->listener->config->distribute);
}

struct limit_row *limit_row_of(const struct limit *m, const struct child *c)
{
	for (size_t i = 0; i < m->n_rows; i++)
		if (m->rows[i].child == c)
			return &m->rows[i];
	return NULL;
}

/* --- too many -------------------------------------------------------------------------------- */

/* Whether nobody may have what waits on a socket, for there are too many already. */
static bool is_full(const struct limit *m, size_t handle)
{
	if (limit_hands_off(m))
		return ledger_free(&m->ledger) == 0 || meter_is_capped(m);
	return !permits_are_awaited(m) &&
	       ((m->scarce && ledger_free(&m->ledger) == 0) || permits_are_capped(m, handle));
}

static bool shall_turn_away(const struct limit *m, size_t handle)
{
	return m->listener->config->overflow != OVERFLOW_QUEUE && !ev_is_active(&m->pause) &&
	       is_full(m, handle);
}

static void tell(struct limit *m)
{
	static const char *const done[OVERFLOW_END] = {
		[OVERFLOW_DROP] = "dropped",
		[OVERFLOW_RESET] = "reset",
	};

	if (m->untold == 0 || !throttle_lets(&m->telling))
		return;
	log_warning("listener \"%s\" has all the connections that it may have; %llu more were %s",
		    m->listener->config->name, (unsigned long long)m->untold,
		    done[m->listener->config->overflow]);
	m->untold = 0;
}

static void complain(struct limit *m, int error)
{
	if (throttle_lets(&m->complaining))
		log_warning("listener \"%s\": nobody can be turned away for now: %s",
			    m->listener->config->name, strerror(-error));
}

static void pause_a_moment(struct limit *m)
{
	if (ev_is_active(&m->pause))
		return;
	ev_timer_set(&m->pause, PAUSE_S, 0);
	ev_timer_start(m->loop, &m->pause);
}

static void turn_away(struct limit *m, size_t handle)
{
	int fd = m->listener->handles[handle].bound.fd;
	int error = 0;

	for (int i = 0; i < TURNED_AWAY_MAX && error == 0; i++) {
		error = overflow_turn_away(fd, m->listener->config->overflow);
		m->turned_away += error == 0;
		m->untold += error == 0;
		if (error_is_of_one_connection(-error))
			error = 0;
	}
	tell(m);
	if (error == 0 || error == -EAGAIN)
		return;
	complain(m, error);
	pause_a_moment(m);
}

/* --- what is watched ------------------------------------------------------------------------- */

static bool shall_watch(const struct limit *m, size_t handle)
{
	if (m->stopped || m->refused)
		return false;
	if (!limit_hands_off(m) && m->scarce && permits_choose(m, handle))
		return true;
	return shall_turn_away(m, handle);
}

/* The kernel has no room for one watch more. */
static void watch_refused(struct limit *m)
{
	m->refused = true;
	pause_a_moment(m);
}

static void on_waiting(struct ev_loop *loop, ev_io *io, int events)
{
	struct limit_watcher *watch = CONTAINER_OF(io, struct limit_watcher, io);
	struct limit *m = watch->limit;
	struct limit_row *row = limit_hands_off(m) ? NULL : permits_choose(m, watch->handle);

	if (events & EV_ERROR)
		watch_refused(m);
	else if (row)
		permits_give(m, row);
	else if (shall_turn_away(m, watch->handle))
		turn_away(m, watch->handle);
	limit_update(m);
}

void limit_watch(struct limit *m)
{
	for (size_t i = 0; i < m->n_watches; i++)
		if (shall_watch(m, i))
			ev_io_start(m->loop, &m->watches[i]->io);
		else
			ev_io_stop(m->loop, &m->watches[i]->io);
}

void limit_update(struct limit *m)
{
	if (!m->stopped && !limit_hands_off(m))
		permits_update(m);
	limit_watch(m);
}

static void on_impatient(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct limit *m = CONTAINER_OF(timer, struct limit, patience);
	int64_t now_ms = clock_ms();

	for (size_t i = 0; i < m->n_rows; i++) {
		struct limit_row *row = &m->rows[i];

		if (ledger_waits(&row->account) && now_ms - row->asked_ms >= LIMIT_PATIENCE_MS)
			row->late = true;
	}
	limit_update(m);
}

static void on_pause_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct limit *m = CONTAINER_OF(timer, struct limit, pause);

	m->refused = false;
	limit_update(m);
}

/* --- workers --------------------------------------------------------------------------------- */

int limit_join(struct limit *m, struct child *c)
{
	struct limit_row *rows;

	if (limit_row_of(m, c))
		return 0;
	rows = reallocarray(m->rows, m->n_rows + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	rows[m->n_rows++] = (struct limit_row){.child = c};
	m->rows = rows;
	return 0;
}

void limit_bury(struct limit *m, const struct child *c)
{
	struct limit_row *row = limit_row_of(m, c);

	if (!row)
		return;
	for (size_t i = 0; i < m->n_rows; i++)
		if (&m->rows[i] != row)
			ledger_pass(&m->ledger, &row->account, &m->rows[i].account);
	ledger_bury(&m->ledger, &row->account);
	*row = m->rows[--m->n_rows];
}

int limit_tell(struct limit *m, struct child *c, const struct ipc_held_row *told)
{
	const struct holding holding = {told->serial, told->granted, told->kept, told->used};
	struct limit_row *row = limit_row_of(m, c);

	if (!row)
		return -EPROTO;
	if (limit_hands_off(m))
		return ledger_tell_ended(&m->ledger, &row->account, told->ended);
	int error = ledger_tell(&m->ledger, &row->account, &holding);

	if (error == 0 && !ledger_waits(&row->account))
		row->late = false;
	return error;
}

bool limit_answered(struct limit *m, const struct child *c)
{
	struct limit_row *row = limit_row_of(m, c);

	return row && !handoff_has_ghosts(&c->taker.handoff) &&
	       ledger_free_ghosts(&m->ledger, &row->account);
}

uint32_t limit_in_use(const struct limit *m)
{
	uint32_t used = 0;

	if (limit_hands_off(m))
		return ledger_in_use(&m->ledger);
	for (size_t i = 0; i < m->n_rows; i++)
		used += m->rows[i].account.used;
	return used;
}

/* --- from start to end ----------------------------------------------------------------------- */

/* max_connections_per_worker alone makes a limit, too. */
static uint32_t reckon(const struct config_listener *config, unsigned int workers)
{
	uint64_t most = (uint64_t)config->max_connections_per_worker * workers;

	if (config->max_connections > 0)
		return (uint32_t)config->max_connections;
	return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static int add_watch(struct limit *m)
{
	struct limit_watcher *watch = malloc(sizeof(*watch));
	struct limit_watcher **watches = reallocarray(m->watches, m->n_watches + 1,
						      sizeof(*watches));

	if (watches)
		m->watches = watches;
	if (!watch || !watches) {
		free(watch);
		return -ENOMEM;
	}
	watch->limit = m;
	watch->handle = m->n_watches;
	ev_io_init(&watch->io, on_waiting, m->listener->handles[watch->handle].bound.fd, EV_READ);
	m->watches[m->n_watches++] = watch;
	return 0;
}

int limit_scale(struct limit *m, unsigned int workers)
{
	int error = 0;

	m->ledger.limit = reckon(m->listener->config, workers);
	while (error == 0 && m->n_watches < m->listener->n_handles)
		error = add_watch(m);
	return error;
}

int limit_new(struct ev_loop *loop, struct listener *listener, unsigned int workers,
	      struct limit **ret)
{
	struct limit *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->loop = loop;
	m->listener = listener;
	m->ledger.cap = (uint32_t)listener->config->max_connections_per_worker;
	m->scarce = true;
	ev_init(&m->patience, on_impatient);
	ev_init(&m->pause, on_pause_over);
	int error = limit_scale(m, workers);
	if (error < 0) {
		limit_free(m);
		return error;
	}
	listener->source.meter = &limit_meter;
	*ret = m;
	return 0;
}

void limit_stop(struct limit *m)
{
	if (m->stopped)
		return;
	if (!limit_hands_off(m))
		permits_spread(m);
	m->stopped = true;
	ev_timer_stop(m->loop, &m->patience);
	ev_timer_stop(m->loop, &m->pause);
	limit_watch(m);
}

void limit_free(struct limit *m)
{
	if (!m)
		return;
	m->stopped = true;
	ev_timer_stop(m->loop, &m->patience);
	ev_timer_stop(m->loop, &m->pause);
	limit_watch(m);
	for (size_t i = 0; i < m->n_watches; i++)
		free(m->watches[i]);
	free(m->watches);
	free(m->rows);
	free(m);
}
