/* The command line of usherctl.
 *
 * Owns:   the strings are those of argv.
 * Errors: 0, or -EINVAL with a complaint for the person at the terminal.
 * Source: getopt_long(3); usherctl(1) describes the options. */
#ifndef USHER_DAEMON_CTL_OPTIONS_H
#define USHER_DAEMON_CTL_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "daemon/ctl_verb.h"

#define CTL_COMPLAINT_SIZE 256
#define CTL_TIMEOUT_S      10
#define CTL_TIMEOUT_MAX_S  3600

enum ctl_wish {
	CTL_ASK,     /* usherd, what verb and operand say */
	CTL_HELP,    /* of verb, or if it is NULL of all */
	CTL_VERSION, /* -v */
	CTL_BUILD,   /* -V: with how it was built */
};

struct ctl_options {
	enum ctl_wish wish;
	const char *socket; /* -s, else NULL */
	const char *config; /* -c, else NULL */
	bool json;
	unsigned int timeout_ms;
	const struct ctl_verb *verb;
	const char *operands[CTL_OPERANDS_MAX]; /* NULL: not given */
	bool list;                              /* --list */
	unsigned int worker;                    /* --worker, else 0 */
};

int ctl_options_parse(int argc, char **argv, struct ctl_options *ret,
		      char complaint[CTL_COMPLAINT_SIZE]);

/* Help for verb, or if it is NULL the overview. */
void ctl_options_help(const struct ctl_verb *verb, FILE *out);

#endif
