#include "daemon/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/macros.h"

/* Far more CPUs than any kernel is built for. */
#define MASK_MAX (1U << 20)

static bool read_line(const char *folder, const char *name, char *line, size_t size)
{
	char path[PATH_MAX];
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return false;
	file = fopen(path, "re");
	if (!file)
		return false;
	bool read = fgets(line, (int)size, file) != NULL;
	fclose(file);
	return read;
}

/* A quota of part of a CPU still needs one worker. */
static unsigned int quota_to_cpus(long long quota, long long period, unsigned int limit)
{
	if (quota <= 0 || period <= 0 || quota / period >= limit)
		return limit;
	return quota < period ? 1 : (unsigned int)((quota + period - 1) / period);
}

static unsigned int limit_of(const char *folder, unsigned int limit)
{
	char line[64];
	long long quota, period;

	if (read_line(folder, "cpu.max", line, sizeof(line)))
		return sscanf(line, "%lld %lld", &quota, &period) == 2
			       ? quota_to_cpus(quota, period, limit)
			       : limit; /* "max" */
	if (!read_line(folder, "cpu.cfs_quota_us", line, sizeof(line)) ||
	    sscanf(line, "%lld", &quota) != 1 ||
	    !read_line(folder, "cpu.cfs_period_us", line, sizeof(line)) ||
	    sscanf(line, "%lld", &period) != 1)
		return limit;
	return quota_to_cpus(quota, period, limit);
}

/* The limit of a group and of all above it, up to the mount. */
static unsigned int limit_along(const char *mount, char *group, unsigned int limit)
{
	char folder[PATH_MAX];
	char *slash;

	do {
		if (snprintf(folder, sizeof(folder), "%s%s", mount, group) < (int)sizeof(folder))
			limit = limit_of(folder, limit);
		slash = strrchr(group, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return limit;
}

/* Whether "cpu" is one of the comma-separated controllers of version 1. */
static bool has_cpu(char *controllers)
{
	char *rest;

	for (char *name = strtok_r(controllers, ",", &rest); name;
	     name = strtok_r(NULL, ",", &rest))
		if (strcmp(name, "cpu") == 0)
			return true;
	return false;
}

unsigned int cpus_granted_by(unsigned int cpus, const char *membership, const char *root)
{
	char line[PATH_MAX + 64], mount[PATH_MAX];
	FILE *file = fopen(membership, "re");

	if (!file)
		return cpus;

	/* "0::/group" is version 2, "4:cpu,cpuacct:/group" one hierarchy of version 1. */
	while (fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		bool unified = controllers[1] == '\0';
		if (!unified && !has_cpu(controllers + 1))
			continue;
		if (snprintf(mount, sizeof(mount), "%s%s", root, unified ? "" : "/cpu") <
		    (int)sizeof(mount))
			cpus = limit_along(mount, group, cpus);
	}
	fclose(file);
	return cpus;
}

/* In a mask with room for so many; -EINVAL: the kernel's has more. */
static int count_in_mask(unsigned int room)
{
	size_t size = CPU_ALLOC_SIZE(room);
	cpu_set_t *mask = CPU_ALLOC(room);
	int result;

	if (!mask)
		return -ENOMEM;
	result = sched_getaffinity(0, size, mask) == -1 ? -errno : CPU_COUNT_S(size, mask);
	CPU_FREE(mask);
	return result;
}

/* How large the kernel's mask is shows by trying alone: sched_getaffinity(2), "NOTES". */
unsigned int cpus_in_mask(void)
{
	int count = -EINVAL;

	for (unsigned int room = CPU_SETSIZE; count == -EINVAL && room <= MASK_MAX; room *= 2)
		count = count_in_mask(room);
	return count > 0 ? (unsigned int)count : 1;
}

unsigned int cpus_granted(void)
{
	return cpus_granted_by(cpus_in_mask(), "/proc/self/cgroup", "/sys/fs/cgroup");
}
