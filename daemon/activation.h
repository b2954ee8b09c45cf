/* The listening sockets that whoever started us passed along: LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES, descriptors 3 and up. They are taken by name or by number, and each but once.
 *
 * The environment and the descriptors are the process's, so is the state here.
 *
 * Owns:   the three variables, which activation_init() removes so that no child takes them for
 *         its own; each descriptor until it is taken.
 * Errors: functions return -errno.
 * Order:  activation_init() before the process opens descriptors of its own.
 * Source: sd_listen_fds(3), systemd.socket(5). */
#ifndef USHER_DAEMON_ACTIVATION_H
#define USHER_DAEMON_ACTIVATION_H

#include <stddef.h>

#define ACTIVATION_MAX 1024

/* Returns how many descriptors came, 0 when none or when LISTEN_PID names another process, in which
 * case nothing is touched but the environment. -EINVAL: a variable makes no sense, or there is not
 * one name to each descriptor; -E2BIG: over ACTIVATION_MAX; -EBADF: a promised one is not open.
 * After an error none can be taken. All are close-on-exec after success. */
int activation_init(void);

/* Gives the first descriptor of that name not yet taken, now the caller's, with O_NONBLOCK as it
 * came. Without LISTEN_FDNAMES each is called "unknown". -ENOENT: there is no such name; -EBUSY:
 * all of that name are taken; -ENOTSOCK, -ESOCKTNOSUPPORT (not a stream), -EINVAL (does not
 * listen): there, but unfit, and it stays to be reported by activation_close_rest(). */
int activation_take(const char *name);

/* The same for the descriptor of that number, whatever its name. -ENOENT: it was not passed, and
 * may be open for another reason; -EBUSY: it is taken. */
int activation_take_fd(int fd);

typedef void activation_unused_fn(const char *name, int fd, void *ctx);

/* Tells fn, which may be NULL, of each descriptor nobody took, then closes it. Ends the module's
 * use; returns how many there were. */
size_t activation_close_rest(activation_unused_fn *fn, void *ctx);

#endif
