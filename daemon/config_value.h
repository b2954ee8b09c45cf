/* The values of keys: functions for the tables that config_map_read() walks, and what they are
 * made of.
 *
 * Owns:   strings read are allocated for the struct they are read into; a value that was there
 *         before is freed.
 * Errors: as config_value_fn: 0, -EINVAL with a complaint, -ENOMEM; the member is then as it was.
 */
#ifndef USHER_DAEMON_CONFIG_VALUE_H
#define USHER_DAEMON_CONFIG_VALUE_H

#include <stddef.h>

#include "daemon/config_map.h"

/* Holds any duration that config_duration_text() writes. */
#define CONFIG_DURATION_SIZE 24

/* What sockaddr_un has room for besides the NUL byte after a path or before an abstract name. */
#define CONFIG_SOCKET_PATH_MAX 107

/* For members of the types bool, int, unsigned int (milliseconds). */
config_value_fn config_read_bool;
config_value_fn config_read_int;
config_value_fn config_read_duration;

/* A number within the bounds of the key. */
int config_number(struct config_reader *reader, const struct config_key *key,
		  const yaml_node_t *value, unsigned long *ret);

/* A text that is not empty and has no control characters; the document's. */
int config_text(struct config_reader *reader, const struct config_key *key,
		const yaml_node_t *value, const char *expected, const char **ret);

/* Puts a copy of text into *ret, in place of what was there. Returns 0 or -ENOMEM. */
int config_replace(char **ret, const char *text);

/* The digits at the start of text as a number. Returns how many there are; 0 when there is none,
 * when a needless 0 leads, or when the number is above max. */
size_t config_digits(const char *text, unsigned long max, unsigned long *ret);

/* Writes 90000 as "90s": the longest unit in which it is a whole number. */
void config_duration_text(unsigned long ms, char ret[CONFIG_DURATION_SIZE]);

#endif
