/* The calls of a control socket: each a connection that brings one request line, waits for the
 * receiver's answer, takes it and ends. control.h has what the receiver sees of a call.
 *
 * Owns:   the descriptors and their watchers. A call ends when both its client and its receiver
 *         have done with it, so one may outlive its list; see control_calls_end().
 * Errors: -errno; what goes wrong later ends that call only.
 * Order:  fn is called from the loop, once per call at most; on_room whenever a call has left.
 * Source: unix(7). */
#ifndef USHER_DAEMON_CONTROL_CALL_H
#define USHER_DAEMON_CONTROL_CALL_H

#include <sys/queue.h>

#include "daemon/control.h"

struct control_calls {
	struct ev_loop *loop;
	control_request_fn *fn;
	void *ctx;
	void (*on_room)(struct control_calls *calls); /* may be NULL */
	unsigned io_ms;                               /* to send a request, and to take an answer */
	unsigned answer_ms;                           /* for the receiver to answer */

	size_t count;
	TAILQ_HEAD(control_call_list, control_call) list;
};

/* Takes over the connected, non-blocking fd on success. */
int control_calls_add(struct control_calls *calls, int fd, bool may_change);

/* Tells the clients of unanswered calls that usherd is going and ends every connection. The calls
 * that the receiver still has are freed when it answers them. */
void control_calls_end(struct control_calls *calls);

#endif
