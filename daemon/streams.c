#include "daemon/streams.h"

#include <fcntl.h>

#include "common/macros.h"

int streams_open(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) != -1)
			continue;
		/* Those below are open, so that it gets this number; workers inherit it. */
		if (open("/dev/null", O_RDWR) == -1)
			return -errno;
	}
	return 0;
}
