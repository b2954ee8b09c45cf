/* What usherctl can be told to do: one table of verbs, each with the request it becomes and the way
 * its answer is shown.
 *
 * Errors: 0 or -errno.
 * Source: usherctl(1). */
#ifndef USHER_DAEMON_CTL_VERB_H
#define USHER_DAEMON_CTL_VERB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/ctl_show.h"

struct ctl_verb {
	const char *name;    /* also the command on the control socket */
	const char *operand; /* how help calls it; NULL: it takes none */
	const char *field;   /* which the operand becomes in the request */
	bool needs_operand, is_number;
	const char *summary; /* a line for the list of verbs */
	const char *details; /* for its own help */
	ctl_show_fn *show;
};

extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verb_count;

/* NULL if there is none; *ret_meant is then a verb that may have been meant, or NULL. */
const struct ctl_verb *ctl_verb_find(const char *name, const char **ret_meant);

/* The request for usherd; operand is NULL or what was given. -EINVAL, -ERANGE: not such a number.
 */
int ctl_verb_request(const struct ctl_verb *verb, const char *operand, json_t **ret);

#endif
