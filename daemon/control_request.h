/* What may be asked on the control socket: one table of commands and fields, and the check of a
 * request line against it. Knows no sockets; the bytes are taken as hostile.
 *
 * Owns:   the caller owns *ret and drops its reference; command and field names are static.
 * Errors: a complaint is written for the person who asked, and is bounded in length; text of the
 *         request in it is quoted and made printable.
 * Source: RFC 8259 for JSON; the protocol is described in usherctl(1). */
#ifndef USHER_DAEMON_CONTROL_REQUEST_H
#define USHER_DAEMON_CONTROL_REQUEST_H

#include <jansson.h>
#include <stddef.h>

#define CONTROL_VERSION        1
#define CONTROL_COMPLAINT_SIZE 256
#define CONTROL_NAME_MAX       255 /* letters of a listener's name */

/* A row for each field; those of one command stand together.
 *      command      field       kind    needed */
#define CONTROL_COMMANDS(X)                     \
	X(status, NULL, NONE, false)            \
	X(connections, "listener", NAME, false) \
	X(list, "worker", ID, false)            \
	X(list, "listener", NAME, false)        \
	X(list, "before", TIME, false)          \
	X(scale, "workers", COUNT, true)        \
	X(stop, NULL, NONE, false)              \
	X(worker, "worker", ID, true)           \
	X(worker, "action", ACTION, true)

/* Reads one request, without its line feed. Returns 0, or -EINVAL with a complaint. */
int control_request_parse(const char *line, size_t size, json_t **ret,
			  char complaint[CONTROL_COMPLAINT_SIZE]);

#endif
