/* Opens a listening stream socket: TCP, Unix path or abstract name.
 *
 * Owns:   a struct bound owns its descriptor and, for a path, the file that bind(2) made, until
 *         bound_close(). Two processes may not own the same file: bound_detach() gives it up.
 * Errors: 0, -errno, or for a name a NET_ERR_* of the resolver; *ret_syscall then names the call
 *         that failed, for messages ("bind", "listen", "getaddrinfo", ...).
 * Source: socket(7), ipv6(7), unix(7), bind(2). */
#ifndef USHER_COMMON_NET_BIND_H
#define USHER_COMMON_NET_BIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/net/addr.h"

#define BIND_BACKLOG_DEFAULT 511

struct bind_options {
	/* TCP, unless path is given. NULL: "::" for both families, else "0.0.0.0". A name is
	 * resolved by getaddrinfo(3) inside the call, which may block; its first address counts. */
	const char *host;
	bool has_port; /* false: path is used */
	uint16_t port;
	const char *path;   /* "@name" is abstract */
	int backlog;        /* 0: BIND_BACKLOG_DEFAULT */
	bool ipv6_only;     /* also without host: then only "::" */
	bool reuse_port;    /* SO_REUSEPORT */
	bool only_bind;     /* whoever gets the socket calls listen(2) */
	bool readable_all;  /* add r for all to the mode of the file */
	bool writable_all;  /* add w for all */
	bool replace_stale; /* take over the file of a socket on which nobody listens */
	bool set_mode;      /* chmod the file to mode */
	mode_t mode;
	bool set_owner; /* chown the file to uid and gid; -1 leaves one as it is */
	uid_t uid;
	gid_t gid;
};

struct bound {
	int fd;
	struct addr addr; /* as the kernel reports it */
	char *path;       /* absolute; NULL unless a file was made */
	pid_t maker;      /* of the file; whom he forks leaves it alone */
	dev_t dev;
	ino_t ino;
};

/* Mode and owner of a file are set before anybody can connect. An existing file is -EADDRINUSE,
 * except a socket that refuses connections when replace_stale is set. The descriptor does not
 * block and closes on exec. */
int bind_open(const struct bind_options *options, struct bound *ret, const char **ret_syscall);

/* Whether fd is a stream socket that listens: 0, -EBADF, -ENOTSOCK, -ESOCKTNOSUPPORT (no stream) or
 * -EINVAL (it does not listen). */
int bind_check_listening(int fd);

/* Makes fd, a stream socket from elsewhere, listen; with backlog 0 one that listens already keeps
 * the queue it has. Its file, if any, stays that of others.
 * Returns -EINVAL if fd is no stream socket; fd is owned on success only. */
int bind_adopt(int fd, int backlog, struct bound *ret, const char **ret_syscall);

/* Removes the file if it is still the one that was made, then closes the descriptor. Does nothing
 * to a struct bound that was closed, or whose fd is -1. */
void bound_close(struct bound *bound);

/* Which of a name's addresses to bind: the first, but a link-local one only if there is no other.
 * There is at least one. */
const struct addr *bind_choose(const struct addr *addresses, size_t count);

/* Where path is, seen from everywhere: for free(). An abstract name stays what it is. */
int bind_absolute_path(const char *path, char **ret);

/* Forgets the file, which then stays when the descriptor is closed. */
void bound_detach(struct bound *bound);

#endif
