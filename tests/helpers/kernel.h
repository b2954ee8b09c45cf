/* What the kernel says about sockets, descriptors and processes: the judge in tests of counts.
 *
 * Errors: a question that cannot be asked fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_KERNEL_H
#define USHER_TESTS_HELPERS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Established TCP connections whose local port is port, that is the server's ends. By ss(8). */
long kernel_tcp_connections(int port);

/* Sockets that listen on a TCP port, however many processes have one of them. */
long kernel_tcp_listeners(int port);

/* Waits until so many connections are in the queue of a TCP socket that listens. A client is told
 * of its connection before the kernel has done the listener's side of it. */
void kernel_await_queue(int fd, unsigned count);

/* Established connections of a Unix socket's path ("@name": abstract), the server's ends. */
long kernel_unix_connections(const char *path);

/* Waits until nobody listens on a TCP port. It asks the kernel alone: whoever connects to see
 * whether that is refused is one more connection, and a slow server gets more of them than it can
 * close. */
void kernel_await_no_listener(int port);

/* The state of a process as proc(5) has it: 'R', 'S', 'T' (stopped), 'Z'; 0 if there is none. */
char kernel_process_state(pid_t pid);

/* Whether a process sleeps in epoll_wait(2); for whom proc(5) does not say where, that it sleeps.
 */
bool kernel_waits_for_events(pid_t pid);

/* The processor time that a process has used. */
long kernel_cpu_ms(pid_t pid);

/* Kills a process with SIGKILL and waits until it has ended, which it may have done already. It
 * need not be a child. */
void kernel_kill(pid_t pid);

/* Waits until a process has ended, which nobody need have waited for yet. */
void kernel_await_end(pid_t pid);

/* Stops a process with SIGSTOP and waits until it has stopped: before that it may still be woken
 * for something that it then does not do. kernel_resume() lets it go on. */
void kernel_stop(pid_t pid);
void kernel_resume(pid_t pid);

/* Open descriptors of another process; open_fd_count() is for the test itself. */
int kernel_fd_count(pid_t pid);

/* How many descriptors are in the epoll sets of a process. */
size_t kernel_watched_fds(pid_t pid);
/* How many of them with EPOLLEXCLUSIVE: an event wakes one process. */
size_t kernel_exclusive_fds(pid_t pid);

/* The children of a process, at most max of them; returns how many there are. 0: of the caller. */
size_t kernel_children(pid_t pid, pid_t *pids, size_t max);

#endif
