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

#define CTL_OPERANDS_MAX 2

enum ctl_operand_kind {
	CTL_TEXT,
	CTL_COUNT, /* of workers */
	CTL_ID,    /* of a worker */
	CTL_CHOICE /* one of the words of the operand's name, between which a '|' stands */
};

struct ctl_operand {
	const char *name;  /* how help calls it; NULL: there is none */
	const char *field; /* what it becomes in the request */
	enum ctl_operand_kind kind;
	bool needed;
};

struct ctl_verb {
	const char *name; /* also the command on the control socket */
	struct ctl_operand operands[CTL_OPERANDS_MAX];
	bool lists;          /* takes --list */
	const char *summary; /* a line for the list of verbs */
	const char *details; /* for its own help */
	ctl_show_fn *show;
};

extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verb_count;

/* NULL if there is none; *ret_meant is then a verb that may have been meant, or NULL. */
const struct ctl_verb *ctl_verb_find(const char *name, const char **ret_meant);

/* The request for usherd; operands are CTL_OPERANDS_MAX of them, NULL for what was not given.
 * Returns -EINVAL or -ERANGE for one that is not what it must be, with its index in *ret_which. */
int ctl_verb_request(const struct ctl_verb *verb, const char *const *operands, json_t **ret,
		     size_t *ret_which);

#endif
