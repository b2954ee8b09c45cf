/* What usherd's answer line says: yes with an answer, or no with a reason.
 *
 * Owns:   *ret is the caller's, with all texts that point into it.
 * Errors: -EPROTO when it is not an answer of version 1, and then *ret is untouched.
 * Source: usherctl(1). */
#ifndef USHER_DAEMON_CTL_ANSWER_H
#define USHER_DAEMON_CTL_ANSWER_H

#include <jansson.h>

struct ctl_answer {
	json_t *whole;
	int exit_code;       /* 0: yes */
	const char *message; /* why not, else NULL */
};

int ctl_answer_parse(const char *line, struct ctl_answer *ret);
void ctl_answer_done(struct ctl_answer *answer);

#endif
