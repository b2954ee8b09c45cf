/* Values of an answer as cells of a table.
 *
 * Source: usherctl(1) for the answers. */
#ifndef USHER_DAEMON_CTL_VALUE_H
#define USHER_DAEMON_CTL_VALUE_H

#include <jansson.h>

#include "daemon/ctl_table.h"

#define CTL_DURATION_SIZE 24

/* "-" where there is none. */
const char *ctl_text_of(const json_t *row, const char *key);
void ctl_add_text(struct ctl_table *t, const json_t *row, const char *key);
void ctl_add_number(struct ctl_table *t, const json_t *row, const char *key);
void ctl_add_yes_no(struct ctl_table *t, const json_t *row, const char *key);

/* The two largest units of a time in seconds: 45s, 12m 05s, 2h 03m, 3d 04h. */
const char *ctl_duration_of(const json_t *row, const char *key, char text[CTL_DURATION_SIZE]);

#endif
