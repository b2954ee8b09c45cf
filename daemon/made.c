#include "daemon/made.h"

#include <string.h>

#include "common/macros.h"
#include "daemon/supervisor.h"
#include "daemon/utf8.h"

/* --- one of them ----------------------------------------------------------------------------- */

/* The text comes from a worker. */
static void name_of(const struct share *share, char text[SHARE_TEXT_SIZE])
{
	share_format(share, text, SHARE_TEXT_SIZE);
	utf8_mend(text);
}

static bool is_named(const struct share *share, const char *name)
{
	char text[SHARE_TEXT_SIZE];

	name_of(share, text);
	return strcmp(text, name) == 0;
}

static const struct share *find(const struct supervisor *s, uint32_t id)
{
	const struct share *share;

	LIST_FOREACH (share, &s->shares.list, link)
		if (share->id == id)
			return share;
	return NULL;
}

static const char *kind_of(const struct share *share)
{
	if (share->bound.addr.sa.sa_family != AF_UNIX)
		return "tcp";
	return addr_is_abstract(&share->bound.addr) ? "abstract" : "unix";
}

static const struct child *child_of(const struct share_hold *hold)
{
	return CONTAINER_OF(hold->holder, struct child, holder);
}

/* One that is closed is there as long as it has connections. */
static json_int_t count_of(const struct share *share, const struct count_row *rows, size_t n_rows,
			   bool *ret_shown)
{
	const struct share_hold *hold;
	json_int_t sum = 0;

	*ret_shown = share->bound.fd >= 0;
	TAILQ_FOREACH (hold, &share->holds, of_share)
		for (size_t i = 0; i < n_rows; i++)
			if (rows[i].worker == child_of(hold)->id)
				sum += hold->connections;
	*ret_shown = *ret_shown || sum > 0;
	return sum;
}

bool made_is_named(const struct supervisor *s, uint32_t id, const char *name)
{
	const struct share *share = find(s, id);

	return share && is_named(share, name);
}

json_t *made_name(const struct supervisor *s, uint32_t id)
{
	const struct share *share = find(s, id);
	char text[SHARE_TEXT_SIZE];

	if (!share)
		return json_null();
	name_of(share, text);
	return json_string(text);
}

/* --- all of them ----------------------------------------------------------------------------- */

bool made_exists(const struct supervisor *s, const char *name)
{
	const struct share *share;

	LIST_FOREACH (share, &s->shares.list, link)
		if (share->bound.fd >= 0 && is_named(share, name))
			return true;
	return false;
}

static json_t *status_of(const struct share *share)
{
	const char *way = distribute_name(DISTRIBUTE_SHARED);
	json_t *holders = json_array();
	const struct share_hold *hold;
	char name[SHARE_TEXT_SIZE];

	name_of(share, name);
	TAILQ_FOREACH (hold, &share->holds, of_share)
		if (hold->serves && hold->state == SHARE_HELD)
			json_array_append_new(holders, json_integer(child_of(hold)->id));
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:n, s:n, s:o}", "name", name, "address", name,
			 "kind", kind_of(share), "exclusive", false, "distribute", way, "owner",
			 "handler", "holders", holders);
}

void made_add_status(const struct supervisor *s, json_t *listeners)
{
	const struct share *share;

	LIST_FOREACH (share, &s->shares.list, link)
		if (share->bound.fd >= 0)
			json_array_append_new(listeners, status_of(share));
}

json_int_t made_add_sums(const struct supervisor *s, const char *name, const struct count_row *rows,
			 size_t n_rows, json_t *listeners)
{
	const struct share *share;
	char text[SHARE_TEXT_SIZE];
	json_int_t sum = 0;

	LIST_FOREACH (share, &s->shares.list, link) {
		bool is_shown;
		json_int_t count = count_of(share, rows, n_rows, &is_shown);

		if (!is_shown || (name && !is_named(share, name)))
			continue;
		name_of(share, text);
		sum += count;
		json_array_append_new(listeners,
				      json_pack("{s:s, s:I}", "name", text, "connections", count));
	}
	return sum;
}

json_int_t made_add_row(const struct supervisor *s, const char *name, const struct count_row *row,
			json_t *listeners)
{
	return made_add_sums(s, name, row, 1, listeners);
}
