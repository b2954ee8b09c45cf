/* usherd, with clocks that a test sets: see clocks.h. The Makefile adds all of usherd. These calls
 * stand before the C library's, for libev, too. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/helpers/clocks.h"

#define EXPORTED __attribute__((visibility("default")))

static const struct clocks_page *page(void)
{
	static const struct clocks_page *page;
	const char *path = getenv(CLOCKS_VARIABLE);
	int fd;

	if (page)
		return page;
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	page = mmap(NULL, sizeof(*page), PROT_READ, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		_exit(70);
	close(fd);
	return page;
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
EXPORTED int clock_gettime(clockid_t id, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, id, ret);

	if (r == 0 && id == CLOCK_REALTIME)
		ret->tv_sec += page()->wall;
	if (r == 0 && id == CLOCK_MONOTONIC)
		ret->tv_sec += page()->monotonic;
	return r;
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
EXPORTED int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
	struct timespec now;
	int r = clock_gettime(CLOCK_REALTIME, &now);

	(void)zone;
	*ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return r;
}
