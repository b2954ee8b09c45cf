/* What has come of a request: yes with an answer, no with a reason, or no word of usherd's.
 *
 * Owns:   *ret is the caller's, with all texts that point into it.
 * Errors: -EPROTO when it is not an answer of version 1, and then *ret is untouched.
 * Source: usherctl(1). */
#ifndef USHER_DAEMON_CTL_ANSWER_H
#define USHER_DAEMON_CTL_ANSWER_H

#include <jansson.h>

struct ctl_answer {
	json_t *whole;       /* NULL: usherd has not said anything */
	int exit_code;       /* 0: yes */
	const char *message; /* why not, else NULL */
};

/* Reads usherd's answer line. */
int ctl_answer_parse(const char *line, struct ctl_answer *ret);
void ctl_answer_done(struct ctl_answer *answer);

#endif
