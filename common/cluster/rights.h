/* Doing something with the rights of a worker's user, in the process of a supervisor that has more.
 *
 * What is asked for in between, the kernel decides as if that user had asked: which file a path
 * leads to, whether one may be made or removed there, which ports may be bound. Nothing is checked
 * beforehand, so nothing can change between a check and its use.
 *
 * Owns:   a struct rights owns its groups until rights_done().
 * Errors: 0 or -errno; -EPERM also where a filter forbids the calls that it takes. A process that
 *         cannot get its own rights back ends by abort(3): it must not go on with another's.
 * Order:  rights_borrow() and rights_return() enclose a few calls, in one function. They concern
 * the calling thread only, and not who may send it signals or trace it. Source: credentials(7),
 * capabilities(7) "Effect of user ID changes", setfsuid(2), setgroups(2) "C library/kernel
 * differences", PR_SET_DUMPABLE in prctl(2). */
#ifndef USHER_COMMON_CLUSTER_RIGHTS_H
#define USHER_COMMON_CLUSTER_RIGHTS_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Zeros: our own user, without any capability. */
struct rights {
	bool is_other; /* uid, gid and groups are set */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t n_groups;
};

/* What rights_borrow() has put aside. */
struct rights_saved {
	struct __user_cap_data_struct capabilities[_LINUX_CAPABILITY_U32S_3];
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* NULL: they are as they were */
	int n_groups;
	int dumpable;
};

/* Those of a user by name, in his main group gid and all others that he has. */
int rights_of_user(const char *name, uid_t uid, gid_t gid, struct rights *ret);

/* Takes one that was never set. */
void rights_done(struct rights *rights);

/* NULL: nothing changes. */
int rights_borrow(const struct rights *rights, struct rights_saved *ret);
void rights_return(const struct rights *rights, struct rights_saved *saved);

#endif
