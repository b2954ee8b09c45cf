/* What the kernel says about processes and the machine: processor time, memory, who else ran.
 *
 * Errors: a process that is gone, or that this user may not look at, counts as nothing;
 *         procfs_sample() returns -errno when /proc itself cannot be read.
 * Source: proc(5), Documentation/filesystems/proc.rst for smaps_rollup. */
#ifndef USHER_TESTS_LOAD_PROCFS_H
#define USHER_TESTS_LOAD_PROCFS_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCFS_PIDS_MAX 1024

/* Over the processes of a set; counters since the start of each. */
struct proc_usage {
	uint64_t cpu_ns;   /* of all threads */
	uint64_t switches; /* context switches of the main threads */
};

struct pid_set {
	pid_t pids[PROCFS_PIDS_MAX];
	struct proc_usage seen[PROCFS_PIDS_MAX]; /* by procfs_used() */
	size_t count;
};

/* Adds a process and all that descend from it. */
int procfs_add_tree(struct pid_set *set, pid_t root);

/* Adds those that descend from the processes of the set and have appeared since. */
int procfs_add_descendants(struct pid_set *set);

/* The processors that any of them may run on are added to *cpus. */
void procfs_add_cpus(const struct pid_set *set, cpu_set_t *cpus);

/* The sum of what each has used since the last call, or its start. What a process used that has
 * gone since then is not known. */
struct proc_usage procfs_used(struct pid_set *set);

/* Proportional set size: shared pages count by their part. */
uint64_t procfs_pss(const struct pid_set *set);

/* Sockets that a process has open. */
uint64_t procfs_sockets(pid_t pid);

/* Since boot, over the processors in cpus. */
struct machine_usage {
	uint64_t busy_ns;
	uint64_t steal_ns; /* the host ran something else */
};

int procfs_machine(const cpu_set_t *cpus, struct machine_usage *ret);

#endif
