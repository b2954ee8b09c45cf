/* A program: what to execute, with what, and as whom.
 *
 * Owns:   the file, held open so that every process is of one build even when the installation
 *         changes, and its folder need not be open to the user it runs as. All else is borrowed.
 * Errors: functions return 0 or -errno.
 * Source: execveat(2), close_range(2), capabilities(7), credentials(7), PR_SET_PDEATHSIG(2const).
 */
#ifndef USHER_COMMON_CLUSTER_PROGRAM_H
#define USHER_COMMON_CLUSTER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/ipc/messages.h"

/* The channel's number in the new process, the first after the standard streams. */
#define PROGRAM_CHANNEL_FD 3

struct program {
	const char *path;
	int fd;                  /* -1: by its path alone */
	const char *const *args; /* argv, name and all; NULL: the path alone */
	const char *const *env;  /* "NAME=value", added to or in place of ours; NULL: none */
	const char *cwd;         /* NULL: ours */
	bool has_uid;
	bool has_gid;
	uid_t uid;
	gid_t gid;
	const char *user; /* whose groups it has besides gid; NULL: none, if it has a gid */
	bool has_stdio;
	int stdio[3];     /* -1: /dev/null */
	bool confined;    /* nothing that it runs may gain more than it has */
	int death_signal; /* sent to it when we end; 0: none */
};

/* path is borrowed; all but it and the file is left zero. */
int program_open(const char *path, struct program *ret);
void program_close(struct program *program);

/* How many there are before the NULL that ends args or env; of NULL none. */
size_t program_list_length(const char *const *list);

/* Before fork(2): the environment for the program. Freed by free(3), in one piece. */
int program_environment(const struct program *program, char ***ret);

/* The new process's way to its program, without a call that is not safe after fork(2) in a program
 * with threads (but for the groups of a user). channel takes its place; begun, which must be above
 * it, is closed as soon as nothing else of ours is open there; parent is who forked. Returns only
 * when it failed: -errno, and in ret_step at what. */
int program_execute(const struct program *program, char *const *environment, int channel, int begun,
		    pid_t parent, enum ipc_step *ret_step);

#endif
