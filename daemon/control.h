/* The server side of the control socket: one JSON request line, one JSON answer line and the end
 * of the connection; version 1 of the protocol that usherctl(1) describes.
 *
 * Owns:   the socket, its file and every connection; ctx is borrowed until control_close(). A
 *         call belongs to the server too, but the receiver of a request must answer or refuse
 *         each call exactly once, at any later time, also after its client has gone and after
 *         control_close(); that is what frees it.
 * Errors: control_open() returns -errno and has logged why. What goes wrong on a connection ends
 *         that connection only and is logged at debug.
 * Order:  the request function is called from the loop, with a checked request. Answering within
 *         it is allowed.
 * Bounds: the CONTROL_* numbers below.
 * Source: unix(7) for the socket options, getpeereid(3) and SO_PEERCRED for who asks. */
#ifndef USHER_DAEMON_CONTROL_H
#define USHER_DAEMON_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/macros.h"

#define CONTROL_REQUEST_SIZE 4096        /* a request line, its line feed included */
#define CONTROL_ANSWER_SIZE  (4UL << 20) /* an answer line; a longer one becomes a refusal */
#define CONTROL_CALLS        64          /* at once; more wait in the kernel's queue */
#define CONTROL_IO_MS        5000        /* to send a request, and to take an answer */
#define CONTROL_ANSWER_MS    30000       /* for the receiver to answer */

struct ev_loop;
struct control;
struct control_call;

/* command is one of those in control_request.h and request the whole object, its version, command,
 * fields and their types already checked; both live until the call is answered. */
typedef void control_request_fn(struct control_call *call, const char *command,
				const json_t *request, void *ctx);

/* Listens on path, mode 0660, owned by group unless that is (gid_t)-1. The folder must exist. A
 * socket file on which nobody answers is replaced; -EADDRINUSE when somebody does. */
int control_open(struct ev_loop *loop, const char *path, gid_t group, control_request_fn *fn,
		 void *ctx, struct control **ret);

/* Stops listening, removes the socket file if it is still ours, tells the clients of unanswered
 * calls that usherd is going, and ends all connections. NULL is fine. */
void control_close(struct control *c);

/* Sends answer, an object whose reference is stolen, with "version" and "ok" added. */
void control_answer(struct control_call *call, json_t *answer);

/* Sends a refusal with the exit code, of sysexits.h, that usherctl is to end with. */
void control_refuse(struct control_call *call, int exit_code, const char *format, ...)
	PRINTF_LIKE(3, 4);

/* Whether who asks may change something: root, usherd's own user and members of the group given
 * to control_open() may; others who can connect may only ask. */
bool control_may_change(const struct control_call *call);

#endif
