#include "tests/helpers/owners.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/wait.h"

#define STATE_ESTABLISHED 1

/* A socket that a process has. */
struct holding {
	unsigned long inode;
	int process;
};

struct holdings {
	struct holding *rows;
	size_t count;
};

/* Makes room for one more at the end of count rows: their number doubles at powers of two. */
static void *room_for_one(void *rows, size_t count, size_t size)
{
	if (count & (count - 1))
		return rows;
	rows = realloc(rows, (count ? 2 * count : 1) * size);
	assert_non_null(rows);
	return rows;
}

static void add_holdings_of(struct holdings *h, pid_t pid, int process)
{
	char path[64], link[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *folder = opendir(path);
	assert_non_null(folder);
	for (struct dirent *entry; (entry = readdir(folder));) {
		ssize_t size = readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1);
		struct holding row = {.process = process};

		link[size > 0 ? size : 0] = '\0';
		if (sscanf(link, "socket:[%lu]", &row.inode) != 1)
			continue;
		h->rows = room_for_one(h->rows, h->count, sizeof(row));
		h->rows[h->count++] = row;
	}
	closedir(folder);
}

static int compare_holdings(const void *a, const void *b)
{
	const struct holding *left = a, *right = b;

	return left->inode < right->inode ? -1 : left->inode > right->inode;
}

static int compare_owners(const void *a, const void *b)
{
	const struct owner *left = a, *right = b;

	if (left->address != right->address)
		return left->address < right->address ? -1 : 1;
	return left->port < right->port ? -1 : left->port > right->port;
}

/* A line of /proc/net/tcp that is an established connection of the port. */
static bool read_line(const char *line, int port, struct owner *ret, unsigned long *ret_inode)
{
	unsigned int local_port, address, peer_port, state;

	if (sscanf(line, " %*d: %*8x:%4x %8x:%4x %2x %*x:%*x %*x:%*x %*x %*d %*d %lu", &local_port,
		   &address, &peer_port, &state, ret_inode) != 5)
		return false;
	*ret = (struct owner){
		.address = ntohl(address), .port = (uint16_t)peer_port, .process = -1};
	return state == STATE_ESTABLISHED && local_port == (unsigned int)port;
}

/* Of a list in order; what was moved while it was read is in it twice. */
static void drop_repetitions(struct owners *o)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->count; i++)
		if (kept == 0 || compare_owners(&o->rows[kept - 1], &o->rows[i]) != 0)
			o->rows[kept++] = o->rows[i];
	o->count = kept;
}

/* A client may happen to have the server's port, at another address; then its own end, which nobody
 * named has, is in the list too, and counts for no process. */
void owners_read(struct owners *o, int port, const pid_t *pids, size_t n_pids)
{
	struct holdings h = {0};
	char line[512];

	for (size_t i = 0; i < n_pids; i++)
		add_holdings_of(&h, pids[i], (int)i);
	if (h.count)
		qsort(h.rows, h.count, sizeof(*h.rows), compare_holdings);

	*o = (struct owners){0};
	FILE *file = fopen("/proc/net/tcp", "re");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		struct holding key = {0}, *found;
		struct owner row;

		if (!read_line(line, port, &row, &key.inode))
			continue;
		found = h.count ? bsearch(&key, h.rows, h.count, sizeof(key), compare_holdings)
				: NULL;
		row.process = found ? found->process : -1;
		o->rows = room_for_one(o->rows, o->count, sizeof(row));
		o->rows[o->count++] = row;
	}
	fclose(file);
	free(h.rows);
	if (o->count)
		qsort(o->rows, o->count, sizeof(*o->rows), compare_owners);
	drop_repetitions(o);
}

struct owners_question {
	struct owners *owners;
	int port;
	const pid_t *pids;
	size_t n_pids;
	size_t count;
};

static bool all_have_owners(void *ctx)
{
	struct owners_question *q = ctx;

	owners_done(q->owners);
	owners_read(q->owners, q->port, q->pids, q->n_pids);
	return q->owners->count - owners_count(q->owners, -1) == q->count;
}

void owners_await(struct owners *o, int port, const pid_t *pids, size_t n_pids, size_t count)
{
	*o = (struct owners){0};

	struct owners_question q = {o, port, pids, n_pids, count};
	if (!poll_until(all_have_owners, &q, WAIT_MS))
		fail_msg("%zu connections expected with an owner, of %zu there are %zu", count,
			 o->count, o->count - owners_count(o, -1));
}

size_t owners_count(const struct owners *o, int process)
{
	size_t count = 0;

	for (size_t i = 0; i < o->count; i++)
		count += o->rows[i].process == process;
	return count;
}

void owners_done(struct owners *o)
{
	free(o->rows);
	*o = (struct owners){0};
}
