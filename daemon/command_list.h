/* The command "list" of the control socket: a page of the connections by name. */
#ifndef USHER_DAEMON_COMMAND_LIST_H
#define USHER_DAEMON_COMMAND_LIST_H

#include "daemon/control.h"
#include "daemon/supervisor.h"

/* listener is the number of the one that is asked for, or IPC_LISTENERS_ALL; made is NULL, or the
 * name of those that workers made, in place of a number. */
void command_list(struct control_call *call, const json_t *request, uint32_t listener,
		  const char *made, struct supervisor *supervisor);

#endif
