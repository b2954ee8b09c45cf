/* The complaints about a configuration, in the order of their places in its files.
 *
 * The list is bounded: of more than CONFIG_ERRORS_MAX complaints the first ones by place are kept
 * and the others counted. A struct of zeros is an empty list.
 *
 * Owns:   copies of all texts and file names, until config_errors_done().
 * Errors: a complaint for which memory is lacking is counted, never forgotten. */
#ifndef USHER_DAEMON_CONFIG_ERRORS_H
#define USHER_DAEMON_CONFIG_ERRORS_H

#include <stddef.h>
#include <stdio.h>

#include "common/macros.h"

#define CONFIG_ERRORS_MAX 100

/* A place in a file. rank is the file's turn in the order of reading; lines and columns count
 * from 1, and line 0 means the file as a whole. file is borrowed. */
struct config_mark {
	const char *file;
	unsigned int rank;
	unsigned int line;
	unsigned int column;
};

struct config_error {
	struct config_mark mark; /* with a file name of its own */
	char *text;
};

struct config_errors {
	struct config_error list[CONFIG_ERRORS_MAX];
	size_t count;
	size_t dropped;
};

/* Adds a complaint at a place. Control characters in the text, which may quote what stands in
 * the file, and in the file's name become question marks. */
void config_errors_add(struct config_errors *errors, const struct config_mark *mark,
		       const char *format, ...) PRINTF_LIKE(3, 4);

/* How many complaints were added, those that were only counted included. */
size_t config_errors_count(const struct config_errors *errors);

/* One line each, "FILE:LINE:COLUMN: TEXT" or "FILE: TEXT", and at the end how many more there
 * are. Returns 0 or -errno. */
int config_errors_print(const struct config_errors *errors, FILE *out);

void config_errors_done(struct config_errors *errors);

#endif
