#include "daemon/config_errors.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int compare_marks(const struct config_mark *a, const struct config_mark *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->column < b->column ? -1 : a->column > b->column;
}

static void free_error(struct config_error *error)
{
	free((char *)error->mark.file);
	free(error->text);
}

/* A file and its name can hold what would move a terminal's cursor; C1 controls are two bytes in
 * UTF-8. */
static void defuse(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

/* Keeps the list sorted, equals in the order of their coming. */
static void insert(struct config_errors *errors, const struct config_error *error)
{
	size_t at = errors->count;

	while (at > 0 && compare_marks(&error->mark, &errors->list[at - 1].mark) < 0)
		at--;

	if (errors->count == CONFIG_ERRORS_MAX)
		free_error(&errors->list[--errors->count]);

	memmove(&errors->list[at + 1], &errors->list[at],
		(errors->count - at) * sizeof(errors->list[0]));
	errors->list[at] = *error;
	errors->count++;
}

static bool comes_too_late(const struct config_errors *errors, const struct config_mark *mark)
{
	return errors->count == CONFIG_ERRORS_MAX &&
	       compare_marks(mark, &errors->list[errors->count - 1].mark) >= 0;
}

void config_errors_add(struct config_errors *errors, const struct config_mark *mark,
		       const char *format, ...)
{
	char *file, *text;
	va_list args;

	if (errors->count == CONFIG_ERRORS_MAX)
		errors->dropped++; /* this one, or the one that it pushes out */
	if (comes_too_late(errors, mark))
		return;

	va_start(args, format);
	if (vasprintf(&text, format, args) == -1)
		text = NULL;
	va_end(args);
	file = strdup(mark->file);
	if (!text || !file) {
		free(text);
		free(file);
		errors->dropped += errors->count < CONFIG_ERRORS_MAX;
		return;
	}

	defuse(file);
	defuse(text);
	insert(errors, &(struct config_error){
			       .mark = {file, mark->rank, mark->line, mark->column},
			       .text = text,
		       });
}

size_t config_errors_count(const struct config_errors *errors)
{
	return errors->count + errors->dropped;
}

int config_errors_print(const struct config_errors *errors, FILE *out)
{
	for (size_t i = 0; i < errors->count; i++) {
		const struct config_error *error = &errors->list[i];

		fputs(error->mark.file, out);
		if (error->mark.line != 0)
			fprintf(out, ":%u:%u", error->mark.line, error->mark.column);
		fprintf(out, ": %s\n", error->text);
	}
	if (errors->dropped > 0)
		fprintf(out, "and %zu more\n", errors->dropped);

	return fflush(out) == EOF || ferror(out) ? -EIO : 0;
}

void config_errors_done(struct config_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++)
		free_error(&errors->list[i]);
	errors->count = errors->dropped = 0;
}
