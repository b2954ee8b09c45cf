/* The command "worker" of the control socket: takes one worker out of rotation, or back into it. */
#ifndef USHER_DAEMON_COMMAND_WORKER_H
#define USHER_DAEMON_COMMAND_WORKER_H

#include "daemon/control.h"
#include "daemon/supervisor.h"

void command_worker(struct control_call *call, const json_t *request,
		    struct supervisor *supervisor);

#endif
