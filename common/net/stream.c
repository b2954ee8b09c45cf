#include "common/net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

bool stream_is(int fd)
{
	socklen_t size = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

int stream_prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1)
		return -errno;
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return -errno;
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == -1 ? -errno : 0;
}
