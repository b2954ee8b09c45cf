/* usherctl connections --list: asks for a page of connections after the other, and shows each page
 * as it comes, so that no number of connections is too many for memory.
 *
 * Owns:   nothing; ctx is borrowed.
 * Errors: exit codes, for whoever asks has told the person at the terminal why.
 * Source: usherctl(1), the command "list". */
#ifndef USHER_DAEMON_CTL_LIST_H
#define USHER_DAEMON_CTL_LIST_H

#include <jansson.h>
#include <stdio.h>

#include "daemon/ctl_answer.h"
#include "daemon/ctl_options.h"

/* Gets the answer to one request: the caller's, for ctl_answer_done(), also if it is no, or there
 * is none. Returns its exit code, having said why if that is not 0; the message lives until the
 * next request. */
typedef int ctl_ask_fn(const json_t *request, struct ctl_answer *ret, void *ctx);

/* Returns the exit code. As JSON what is written is one document whatever happens, or nothing. */
int ctl_list(const struct ctl_options *options, ctl_ask_fn *ask, void *ctx, FILE *out);

#endif
