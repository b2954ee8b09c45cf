/* One request of usherctl and its answer, within one deadline.
 *
 * Owns:   *ret_line is the caller's to free().
 * Errors: -errno: -ENOENT, -ECONNREFUSED or -EACCES when nobody answers on path or may not be
 * asked, -ECONNRESET when the connection ends without a word, -ETIMEDOUT at the deadline, -EPROTO
 *         for an answer that is not one line within CONTROL_ANSWER_SIZE.
 * Source: unix(7); the protocol is described in usherctl(1). */
#ifndef USHER_DAEMON_CTL_CALL_H
#define USHER_DAEMON_CTL_CALL_H

#include <jansson.h>

/* Waits for at most timeout_ms in all. The answer comes without its line feed. */
int ctl_call(const char *path, const json_t *request, unsigned int timeout_ms, char **ret_line);

#endif
