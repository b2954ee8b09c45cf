/* Answers of usherd as text for people.
 *
 * An answer of a newer or older usherd may lack what is looked for, or hold more: what is missing
 * is shown as "-", what is new is left out.
 *
 * Owns:   answers are borrowed.
 * Errors: 0 or -errno, of writing to out or for lack of memory.
 * Source: the answers are described in usherctl(1). */
#ifndef USHER_DAEMON_CTL_SHOW_H
#define USHER_DAEMON_CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

typedef int ctl_show_fn(const json_t *answer, FILE *out);

ctl_show_fn ctl_show_status, ctl_show_connections, ctl_show_scale, ctl_show_stop, ctl_show_worker;

#endif
