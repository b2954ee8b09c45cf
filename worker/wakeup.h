/* Which of the workers that sleep on a shared listening socket a connection wakes: one, and each
 * in its turn.
 *
 * A listening socket that several processes watch wakes all of them for each connection. The
 * kernel wakes one alone when the socket is in each process's epoll set with EPOLLEXCLUSIVE, in
 * the very set that the process sleeps in, which is the loop's. libev knows nothing of it, so the
 * program's own epoll_ctl() stands before the C library's and adds the flag for descriptors that
 * were marked. The kernel takes the first sleeper in its list each time; who has accepted goes to
 * the end of the list by leaving the set and coming back.
 *
 * The state is the process's, since epoll_ctl() is. Not thread-safe.
 *
 * Owns:   nothing.
 * Source: epoll_ctl(2); ev.pod has nothing on the flag; a watcher of a marked descriptor may only
 *         ever wait for EV_READ, since the kernel refuses to modify an exclusive entry. */
#ifndef USHER_WORKER_WAKEUP_H
#define USHER_WORKER_WAKEUP_H

/* From its next entry on fd, a listening socket, wakes one process at a time. Without memory for
 * the mark it wakes all, which costs time and nothing else. */
void wakeup_mark(int fd);

/* Must be called before fd is closed, unless it has left the set by epoll_ctl(), and when nobody is
 * to wait for it any more: it is no longer waited for. */
void wakeup_unmark(int fd);

/* Is not woken for fd, which is marked, until it is watched again: with an entry in the set it
 * would be woken in the place of somebody who accepts, though nobody here waits. */
void wakeup_leave(int fd);

/* Lets the others come first, and wakes this process if something waits in the queue already. Where
 * the kernel has no room to take fd back, nobody is woken until the next call. Does nothing when fd
 * is not marked or not watched. */
void wakeup_requeue(int fd);

#endif
