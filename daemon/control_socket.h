/* A listening Unix socket whose file appears whole, with its mode and group, and disappears only
 * through the process that made it.
 *
 * Owns:   the descriptor and the file from control_socket_open() to control_socket_close().
 * Errors: -errno; -EADDRINUSE when somebody answers on the path, -ENOTSOCK when something else than
 *         a socket stands there, -ENAMETOOLONG when unix(7) has no room for the path.
 * Source: unix(7), renameat2(2). */
#ifndef USHER_DAEMON_CONTROL_SOCKET_H
#define USHER_DAEMON_CONTROL_SOCKET_H

#include <sys/stat.h>
#include <sys/types.h>

#define CONTROL_PATH_SIZE 108 /* what unix(7) has room for, the final zero included */

struct control_socket {
	int fd; /* close-on-exec, non-blocking */
	char path[CONTROL_PATH_SIZE];
	dev_t device;
	ino_t inode;
};

/* Listens on path with that mode and, unless it is (gid_t)-1, group. A file on which nobody answers
 * is replaced. For a moment there is a file of that name with our pid behind. */
int control_socket_open(const char *path, mode_t mode, gid_t group, struct control_socket *ret);

/* Removes the file if it is still ours. */
void control_socket_close(struct control_socket *s);

#endif
