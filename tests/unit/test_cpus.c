/* The CPUs that are granted, also by a kernel that has more of them than this machine's.
 * wrap: sched_getaffinity */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/macros.h"
#include "daemon/cpus.h"

int __real_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask);

/* Of the made-up kernel; 0: the real one is asked. */
static unsigned int kernel_cpus;

/* One without room for all of its CPUs is refused, whatever process may use. */
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *mask)
{
	if (kernel_cpus == 0)
		return __real_sched_getaffinity(pid, size, mask);
	if (size * CHAR_BIT < kernel_cpus) {
		errno = EINVAL;
		return -1;
	}
	CPU_ZERO_S(size, mask);
	for (unsigned int cpu = 0; cpu < kernel_cpus; cpu++)
		CPU_SET_S(cpu, size, mask);
	return 0;
}

/* A made-up /sys/fs/cgroup and /proc/self/cgroup in a folder of their own. */
struct fake {
	char root[64];
	char membership[PATH_MAX];
};

static void write_file(struct fake *f, const char *name, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	for (char *slash = strchr(path + strlen(f->root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));

	strcpy(f->root, "/tmp/usher-cpus-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->membership, sizeof(f->membership), "%s/membership", f->root);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fake *f = *state;

	assert_int_equal(nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

static unsigned int granted(struct fake *f, unsigned int cpus)
{
	return cpus_granted_by(cpus, f->membership, f->root);
}

static void without_a_cgroup_the_mask_counts(void **state)
{
	assert_int_equal(granted(*state, 8), 8);
}

static void a_quota_of_the_group_limits(void **state)
{
	write_file(*state, "membership", "0::/app\n");
	write_file(*state, "app/cpu.max", "250000 100000\n");
	assert_int_equal(granted(*state, 8), 3);
	assert_int_equal(granted(*state, 2), 2);
}

static void a_quota_of_a_group_above_limits_too(void **state)
{
	write_file(*state, "membership", "0::/slice/app\n");
	write_file(*state, "slice/app/cpu.max", "max 100000\n");
	write_file(*state, "slice/cpu.max", "400000 100000\n");
	assert_int_equal(granted(*state, 8), 4);
}

static void a_quota_below_one_cpu_leaves_one(void **state)
{
	write_file(*state, "membership", "0::/app\n");
	write_file(*state, "app/cpu.max", "5000 100000\n");
	assert_int_equal(granted(*state, 8), 1);
}

static void version_1_is_understood(void **state)
{
	write_file(*state, "membership", "5:memory:/app\n4:cpu,cpuacct:/app\n");
	write_file(*state, "cpu/app/cpu.cfs_quota_us", "200000\n");
	write_file(*state, "cpu/app/cpu.cfs_period_us", "100000\n");
	assert_int_equal(granted(*state, 8), 2);

	write_file(*state, "cpu/app/cpu.cfs_quota_us", "-1\n");
	assert_int_equal(granted(*state, 8), 8);
}

static void nonsense_limits_nothing(void **state)
{
	write_file(*state, "membership", "nonsense\n0::/app\n");
	write_file(*state, "app/cpu.max", "-5 0\n");
	assert_int_equal(granted(*state, 8), 8);
}

static void a_mask_of_any_size_is_counted(void **state)
{
	static const unsigned int counts[] = {1, 1024, 1025, 2048, 8192, 40000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		kernel_cpus = counts[i];
		assert_int_equal(cpus_in_mask(), counts[i]);
	}
	/* No kernel is like that, but it is not asked for ever. */
	kernel_cpus = 1U << 30;
	assert_int_equal(cpus_in_mask(), 1);
	kernel_cpus = 0;
}

static void this_machine_grants_at_least_one(void **state)
{
	assert_in_range(cpus_granted(), 1, 100000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_cgroup_the_mask_counts),
		TEST(a_quota_of_the_group_limits),
		TEST(a_quota_of_a_group_above_limits_too),
		TEST(a_quota_below_one_cpu_leaves_one),
		TEST(version_1_is_understood),
		TEST(nonsense_limits_nothing),
		TEST(a_mask_of_any_size_is_counted),
		TEST(this_machine_grants_at_least_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
