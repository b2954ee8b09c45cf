/* Descriptors of a test: how many are open, and what happens when no more may be.
 *
 * Source: proc(5) for /proc/self/fd, prlimit(2). */
#ifndef USHER_TESTS_HELPERS_FDS_H
#define USHER_TESTS_HELPERS_FDS_H

#include <stdbool.h>
#include <stddef.h>

/* Descriptors this process has open. */
size_t open_fd_count(void);

/* Waits until no more than count are open: a thread that looks up a name may still have some. */
bool await_fd_count(size_t count);

/* Raises this process's limit as far as it goes. Returns whether that allows count descriptors. */
bool allow_fds(size_t count);

/* What a child does; what it returns (0 to 127) is its exit status. It must not use cmocka's
 * assertions, which belong to the parent's process. */
typedef int fds_child_fn(void *arg);

/* Runs body in a forked child that may open just so many descriptors more. Returns its exit status,
 * or -1 when it did not exit by itself. */
int run_with_fd_limit(size_t more, fds_child_fn *body, void *arg);

#endif
