/* How many CPUs this process may use, for "workers: auto".
 *
 * Source: sched_getaffinity(2); the kernel's cgroup-v2 document for cpu.max, and
 * scheduler/sched-bwc for cpu.cfs_quota_us of version 1. */
#ifndef USHER_DAEMON_CPUS_H
#define USHER_DAEMON_CPUS_H

/* At least 1: the CPUs of the affinity mask, or fewer when the cgroup or one above it grants less
 * time than they have. What cannot be read limits nothing. */
unsigned int cpus_granted(void);

/* The same with other places for /proc/self/cgroup and /sys/fs/cgroup. */
unsigned int cpus_granted_by(unsigned int cpus, const char *membership, const char *root);

/* At least 1, also when the mask cannot be read: the CPUs of the affinity mask, however many. */
unsigned int cpus_in_mask(void);

#endif
