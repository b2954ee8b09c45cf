/* What happens to a worker: one table of the state it is in and the event that comes.
 *
 * Owns:   nothing; a child that is dead is taken out of the supervisor's list and freed.
 * Source: the table is after s6's idea of a supervised process. */
#ifndef USHER_DAEMON_LIFECYCLE_H
#define USHER_DAEMON_LIFECYCLE_H

struct child;
struct supervisor;

enum lifecycle_event {
	EVENT_HELLO,
	EVENT_READY,
	EVENT_DRAINING, /* it accepts no more, and will end */
	EVENT_RESTING,  /* it accepts no more, until it is told to */
	EVENT_CLOSED,   /* its end of the channel */
	EVENT_BROKE,    /* the rules of the channel */
	EVENT_EXITED,
	EVENT_DEADLINE,
	EVENT_REST,   /* we want nothing new to come to it */
	EVENT_RESUME, /* we want it to serve again */
	EVENT_RETIRE, /* we want it to finish */
	EVENT_KILL,   /* we want it gone */
	EVENTS
};

/* The child may be gone after this. */
void lifecycle_handle(struct supervisor *supervisor, struct child *child,
		      enum lifecycle_event event);

#endif
