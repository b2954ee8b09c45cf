#include "daemon/ctl_table.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

/* Letters of UTF-8 text: every byte but those that continue one. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

void ctl_table_init(struct ctl_table *t, const struct ctl_column *columns, size_t column_count)
{
	assert(column_count > 0 && column_count <= CTL_TABLE_COLUMNS);
	*t = (struct ctl_table){.columns = columns, .column_count = column_count};
	for (size_t i = 0; i < column_count; i++)
		t->widths[i] = width_of(columns[i].head);
}

void ctl_table_widen(struct ctl_table *t, size_t column, size_t width)
{
	if (width > t->widths[column])
		t->widths[column] = width;
}

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

void ctl_table_add(struct ctl_table *t, const char *format, ...)
{
	char **grown = reallocarray(t->cells, t->cell_count + 1, sizeof(*grown));
	va_list args;
	char *cell;
	int r;

	if (!grown) {
		t->failed = true;
		return;
	}
	t->cells = grown;

	va_start(args, format);
	r = vasprintf(&cell, format, args);
	va_end(args);
	if (r == -1) {
		t->failed = true;
		return;
	}
	make_printable(cell);
	t->cells[t->cell_count++] = cell;
}

static void measure(struct ctl_table *t)
{
	for (size_t first = 0; first < t->cell_count; first += t->column_count) {
		for (size_t i = 0; i < t->column_count && first + i < t->cell_count; i++)
			ctl_table_widen(t, i, width_of(t->cells[first + i]));
	}
}

/* The last column gets no blanks behind it. */
static void print_cell(const struct ctl_table *t, size_t column, const char *cell, FILE *out)
{
	int blanks = (int)(t->widths[column] - width_of(cell));
	bool last = column + 1 == t->column_count;

	if (t->columns[column].right)
		fprintf(out, "%*s%s%s", blanks, "", cell, last ? "\n" : "  ");
	else if (last)
		fprintf(out, "%s\n", cell);
	else
		fprintf(out, "%s%*s", cell, blanks + 2, "");
}

int ctl_table_print(struct ctl_table *t, FILE *out)
{
	if (t->failed)
		return -ENOMEM;

	measure(t);
	for (size_t i = 0; !t->headed && i < t->column_count; i++)
		print_cell(t, i, t->columns[i].head, out);
	t->headed = true;
	for (size_t first = 0; first + t->column_count <= t->cell_count; first += t->column_count)
		for (size_t i = 0; i < t->column_count; i++)
			print_cell(t, i, t->cells[first + i], out);
	return ferror(out) ? -EIO : 0;
}

void ctl_table_clear(struct ctl_table *t)
{
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->cell_count = 0;
}

void ctl_table_done(struct ctl_table *t)
{
	ctl_table_clear(t);
}
