/* Who is at the other end of a Unix socket, by what the kernel says of the process that connected.
 *
 * Errors: -errno; a peer that cannot be told is nobody.
 * Source: socket(7) for SO_PEERCRED and SO_PEERGROUPS. */
#ifndef USHER_DAEMON_CONTROL_PEER_H
#define USHER_DAEMON_CONTROL_PEER_H

#include <stdbool.h>
#include <sys/types.h>

struct control_peer {
	pid_t pid;
	uid_t uid;
	bool in_group;
};

/* in_group tells whether the peer is a member of group; with (gid_t)-1 nobody is. */
int control_peer_get(int fd, gid_t group, struct control_peer *ret);

#endif
