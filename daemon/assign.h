/* Which worker accepts on which listener: on a shared one all of them, on an exclusive one a single
 * worker at a time, and another when that one ends. Of a reuse-port one each worker has the socket
 * of its slot, and in a slot without a worker that is ready another one stands in. A socket that
 * nobody accepts on keeps its queue in the kernel. Of one whose connections are handed off all of
 * them know, and none accepts.
 *
 * Errors: a worker that takes no message is killed, and logged; its end is told like any other.
 * Source: exclusive of server.listen() in the specification. */
#ifndef USHER_DAEMON_ASSIGN_H
#define USHER_DAEMON_ASSIGN_H

struct child;
struct supervisor;

/* Sends a worker the listeners that all of them have. Returns 0 or -errno. */
int assign_shared(struct supervisor *supervisor, struct child *child);

/* Sends one that has given them up the sockets that all of them accept on. Returns 0 or -errno. */
int assign_again(struct supervisor *supervisor, struct child *child);

/* Gives each socket that is to have an owner to a worker that is ready, and back to that of its
 * slot. */
void assign_owned(struct supervisor *supervisor);

/* What only this worker accepted on goes to others. */
void assign_release(struct supervisor *supervisor, const struct child *child);

#endif
