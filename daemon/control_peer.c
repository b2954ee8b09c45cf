#include "daemon/control_peer.h"

#include <sys/socket.h>

#include "common/macros.h"

#define GROUPS_MAX 65536 /* the kernel's NGROUPS_MAX, see getgroups(2) */

/* Whether group is among the peer's supplementary groups. */
static int has_group(int fd, gid_t group, bool *ret)
{
	AUTO_FREE gid_t *groups = NULL;
	socklen_t size = 0;

	/* With no room given the kernel says how much it needs. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == -1 && errno != ERANGE)
		return -errno;
	if (size / sizeof(*groups) > GROUPS_MAX)
		return -E2BIG;

	groups = malloc(size + sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == -1)
		return -errno;

	*ret = false;
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		if (groups[i] == group)
			*ret = true;
	return 0;
}

int control_peer_get(int fd, gid_t group, struct control_peer *ret)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);
	bool in_group;
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == -1)
		return -errno;

	in_group = group != (gid_t)-1 && credentials.gid == group;
	if (group != (gid_t)-1 && !in_group) {
		r = has_group(fd, group, &in_group);
		if (r < 0)
			return r;
	}
	*ret = (struct control_peer){credentials.pid, credentials.uid, in_group};
	return 0;
}
