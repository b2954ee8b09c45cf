#include "tests/load/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/load/clock.h"

static uint64_t tick_ns(void)
{
	return NS_OF_A_SECOND / (uint64_t)sysconf(_SC_CLK_TCK);
}

static FILE *open_of(pid_t pid, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* The fields of /proc/PID/stat that follow the command, which may hold blanks and brackets. */
static bool read_stat(pid_t pid, int *ret_parent, uint64_t *ret_ticks)
{
	char line[1024], *fields;
	unsigned long long user, system;
	FILE *file = open_of(pid, "stat");

	if (!file)
		return false;
	fields = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	if (!fields || sscanf(fields + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			      ret_parent, &user, &system) != 3)
		return false;
	*ret_ticks = user + system;
	return true;
}

static bool has(const struct pid_set *set, pid_t pid)
{
	for (size_t i = 0; i < set->count; i++) {
		if (set->pids[i] == pid)
			return true;
	}
	return false;
}

/* One pass over all processes; returns how many were added, or -errno. */
static int add_children(struct pid_set *set)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	int added = 0;

	if (!folder)
		return -errno;
	while ((entry = readdir(folder))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;
		uint64_t ticks;
		int parent;

		if (pid == 0 || has(set, pid) || !read_stat(pid, &parent, &ticks) ||
		    !has(set, parent))
			continue;
		if (set->count == PROCFS_PIDS_MAX)
			break;
		set->pids[set->count++] = pid;
		added++;
	}
	closedir(folder);
	return added;
}

int procfs_add_descendants(struct pid_set *set)
{
	int r = set->count > 0;

	/* Children may come before their parents in the folder. */
	while (r > 0)
		r = add_children(set);
	return r;
}

int procfs_add_tree(struct pid_set *set, pid_t root)
{
	uint64_t ticks;
	int parent;

	if (!read_stat(root, &parent, &ticks))
		return -ESRCH;
	if (!has(set, root) && set->count < PROCFS_PIDS_MAX)
		set->pids[set->count++] = root;
	return procfs_add_descendants(set);
}

void procfs_add_cpus(const struct pid_set *set, cpu_set_t *cpus)
{
	cpu_set_t one;

	for (size_t i = 0; i < set->count; i++) {
		if (sched_getaffinity(set->pids[i], sizeof(one), &one) == 0)
			CPU_OR(cpus, cpus, &one);
	}
}

/* The sum of the lines of a file in /proc/PID that begin with one of two names. */
static uint64_t sum_lines(pid_t pid, const char *name, const char *first, const char *second)
{
	char line[256];
	uint64_t sum = 0;
	FILE *file = open_of(pid, name);

	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (!colon)
			continue;
		*colon = '\0';
		if (strcmp(line, first) == 0 || strcmp(line, second) == 0)
			sum += strtoull(colon + 1, NULL, 10);
	}
	if (file)
		fclose(file);
	return sum;
}

/* All threads, to the nanosecond: ticks would be cut off for each of many processes. 0 where the
 * kernel does not keep it. */
static uint64_t exact_cpu_ns(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	uint64_t sum = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		unsigned long long ns;
		FILE *file;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "task/%d/schedstat", atoi(entry->d_name));
		file = open_of(pid, path);
		if (file && fscanf(file, "%llu", &ns) == 1)
			sum += ns;
		if (file)
			fclose(file);
	}
	if (folder)
		closedir(folder);
	return sum;
}

static uint64_t cpu_ns_of(pid_t pid)
{
	uint64_t exact = exact_cpu_ns(pid), ticks = 0;
	int parent;

	if (exact > 0 || !read_stat(pid, &parent, &ticks))
		return exact;
	return ticks * tick_ns();
}

static uint64_t above(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

struct proc_usage procfs_used(struct pid_set *set)
{
	struct proc_usage used = {0};

	for (size_t i = 0; i < set->count; i++) {
		struct proc_usage now = {
			.cpu_ns = cpu_ns_of(set->pids[i]),
			.switches = sum_lines(set->pids[i], "status", "voluntary_ctxt_switches",
					      "nonvoluntary_ctxt_switches"),
		};

		used.cpu_ns += above(now.cpu_ns, set->seen[i].cpu_ns);
		used.switches += above(now.switches, set->seen[i].switches);
		set->seen[i] = now;
	}
	return used;
}

uint64_t procfs_pss(const struct pid_set *set)
{
	uint64_t kib = 0;

	for (size_t i = 0; i < set->count; i++)
		kib += sum_lines(set->pids[i], "smaps_rollup", "Pss", "Pss");
	return kib * 1024;
}

uint64_t procfs_sockets(pid_t pid)
{
	char path[64], target[16];
	struct dirent *entry;
	uint64_t sockets = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		ssize_t n = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target));

		sockets += n > 0 && strncmp(target, "socket:", 7) == 0;
	}
	if (folder)
		closedir(folder);
	return sockets;
}

int procfs_machine(const cpu_set_t *cpus, struct machine_usage *ret)
{
	struct machine_usage usage = {0};
	char line[512];
	FILE *file = fopen("/proc/stat", "re");

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		unsigned long long user, nice, system, irq, softirq, steal;
		unsigned cpu;

		if (sscanf(line, "cpu%u %llu %llu %llu %*u %*u %llu %llu %llu", &cpu, &user, &nice,
			   &system, &irq, &softirq, &steal) != 7 ||
		    cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, cpus))
			continue;
		usage.busy_ns += (user + nice + system + irq + softirq) * tick_ns();
		usage.steal_ns += steal * tick_ns();
	}
	fclose(file);
	*ret = usage;
	return 0;
}
