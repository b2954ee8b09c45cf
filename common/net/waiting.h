/* Whether somebody waits in the queue of a listening socket.
 *
 * To be asked before accept4() when the answer may well be no: that one makes a socket and a file
 * before it looks into the queue, and in vain costs ten times as much as poll(2).
 *
 * Errors: none; if the socket is of no use the answer is yes, for accept4() says why.
 * Source: poll(2). */
#ifndef USHER_COMMON_NET_WAITING_H
#define USHER_COMMON_NET_WAITING_H

#include <stdbool.h>

/* Does not block. */
bool somebody_waits(int fd);

#endif
