/* Descriptors that were not opened here: whether they are stream sockets, and fit for a loop.
 *
 * Owns:   nothing.
 * Errors: 0 or -errno.
 * Source: socket(7), fcntl(2). */
#ifndef USHER_COMMON_NET_STREAM_H
#define USHER_COMMON_NET_STREAM_H

#include <stdbool.h>

/* Whether fd is one at all, connected, bound or neither. */
bool stream_is(int fd);

/* Makes it non-blocking, for all who have it, and close-on-exec. */
int stream_prepare(int fd);

#endif
