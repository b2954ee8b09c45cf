/* What usherctl can ask: each command of the control socket, answered from the supervisor. */
#ifndef USHER_DAEMON_COMMANDS_H
#define USHER_DAEMON_COMMANDS_H

#include "daemon/control.h"
#include "daemon/supervisor.h"

/* A control_request_fn; ctx is the supervisor. */
void commands_handle(struct control_call *call, const char *command, const json_t *request,
		     void *ctx);

#endif
