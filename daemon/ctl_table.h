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

#define CTL_TABLE_COLUMNS 8

struct ctl_column {
	const char *head;
	bool right; /* numbers stand at the right */
};

struct ctl_table {
	const struct ctl_column *columns;
	size_t column_count;
	char **cells;
	size_t cell_count;
	bool failed;
};

/* column_count is at most CTL_TABLE_COLUMNS. */
void ctl_table_init(struct ctl_table *t, const struct ctl_column *columns, size_t column_count);

/* Bytes that could steer a terminal become question marks. */
void ctl_table_add(struct ctl_table *t, const char *format, ...) PRINTF_LIKE(2, 3);

/* Writes the heads and the whole rows. Returns 0 or -errno. */
int ctl_table_print(const struct ctl_table *t, FILE *out);

void ctl_table_done(struct ctl_table *t);

#endif
