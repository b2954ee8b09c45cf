/* Small macros and helpers that every module may use. None of them returns for its caller.
 *
 * Source: the GCC manual, "Common Variable Attributes" and "Common Function Attributes". */
#ifndef USHER_COMMON_MACROS_H
#define USHER_COMMON_MACROS_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The object of the given type whose member is what pointer points at. */
#define CONTAINER_OF(pointer, type, member) \
	((type *)((char *)(1 ? (pointer) : &((type *)0)->member) - offsetof(type, member)))

#define PRINTF_LIKE(string, first) __attribute__((format(printf, string, first)))

/* What seldom runs and would make the way of what often does a longer one. */
#define OUT_OF_LINE __attribute__((noinline))

/* Closes fd unless it is -1; keeps errno, since it runs on the way out of failures. */
static inline void close_fd(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

static inline void auto_close(int *fd)
{
	close_fd(*fd);
}

static inline void auto_free(void *pointer)
{
	free(*(void **)pointer);
}

/* A local descriptor or allocation that ends with its scope unless taken out of it. To hold it is
 * a use, which clang does not see. */
#define AUTO_CLOSE __attribute__((cleanup(auto_close), unused))
#define AUTO_FREE  __attribute__((cleanup(auto_free), unused))

/* Moves a descriptor out of an AUTO_CLOSE variable. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
