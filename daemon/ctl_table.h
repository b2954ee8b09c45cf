/* A table for people: columns as wide as their widest cell, two blanks between them.
 *
 * Owns:   copies of all cells, until ctl_table_done(); the columns are borrowed.
 * Errors: a cell for which memory is lacking makes the later ctl_table_print() return -ENOMEM.
 * Order:  cells are added from left to right, row by row. */
#ifndef USHER_DAEMON_CTL_TABLE_H
#define USHER_DAEMON_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/macros.h"

#define CTL_TABLE_COLUMNS 12

struct ctl_column {
	const char *head;
	bool right; /* numbers stand at the right */
};

struct ctl_table {
	const struct ctl_column *columns;
	size_t column_count;
	char **cells;
	size_t cell_count;
	size_t widths[CTL_TABLE_COLUMNS]; /* grows with what was printed */
	bool headed;
	bool failed;
};

/* column_count is at most CTL_TABLE_COLUMNS. */
void ctl_table_init(struct ctl_table *t, const struct ctl_column *columns, size_t column_count);

/* A column is at least so wide, whatever is in it. */
void ctl_table_widen(struct ctl_table *t, size_t column, size_t width);

/* Bytes that could steer a terminal become question marks. */
void ctl_table_add(struct ctl_table *t, const char *format, ...) PRINTF_LIKE(2, 3);

/* Writes the heads, if that was not done before, and the whole rows. Returns 0 or -errno. */
int ctl_table_print(struct ctl_table *t, FILE *out);

/* Forgets the rows, for others that are to stand below them. */
void ctl_table_clear(struct ctl_table *t);

void ctl_table_done(struct ctl_table *t);

#endif
