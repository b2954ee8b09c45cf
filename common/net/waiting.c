#include "common/net/waiting.h"

#include <poll.h>

bool somebody_waits(int fd)
{
	struct pollfd queue = {.fd = fd, .events = POLLIN};

	return poll(&queue, 1, 0) != 0;
}
