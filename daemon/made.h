/* The listeners that workers made, in the answers of the control socket. Their name is the address.
 *
 * Owns:   nothing; what is added to an array is the array's.
 * Errors: what memory is lacking for is left out.
 * Source: usherctl(1), "PROTOCOL". */
#ifndef USHER_DAEMON_MADE_H
#define USHER_DAEMON_MADE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct count_row;
struct supervisor;

/* Whether there is one of that name. */
bool made_exists(const struct supervisor *supervisor, const char *name);

/* Of one, by its number in messages: whether it has that name; and its name, null if it has gone.
 */
bool made_is_named(const struct supervisor *supervisor, uint32_t id, const char *name);
json_t *made_name(const struct supervisor *supervisor, uint32_t id);

/* Adds a row for each to those of the configured ones. */
void made_add_status(const struct supervisor *supervisor, json_t *listeners);

/* Adds what a worker has of each, or of the one with that name; returns the sum. */
json_int_t made_add_row(const struct supervisor *supervisor, const char *name,
			const struct count_row *row, json_t *listeners);

/* The same for all of the workers together. */
json_int_t made_add_sums(const struct supervisor *supervisor, const char *name,
			 const struct count_row *rows, size_t n_rows, json_t *listeners);

#endif
