/* The standard streams, which a program may be started without.
 *
 * Source: dup(2) and execve(2): what is opened next gets the lowest free number. */
#ifndef USHER_DAEMON_STREAMS_H
#define USHER_DAEMON_STREAMS_H

/* Opens /dev/null in the place of each standard stream that is closed, so that no socket gets its
 * number and what is written to it goes nowhere. To be called before anything is opened. Returns 0
 * or -errno. */
int streams_open(void);

#endif
