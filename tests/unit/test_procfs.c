#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"
#include "tests/load/clock.h"
#include "tests/load/procfs.h"

static struct pid_set set;

static int only_this_process(void **state)
{
	memset(&set, 0, sizeof(set));
	return procfs_add_tree(&set, getpid());
}

static uint64_t own_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_OF_A_SECOND + (uint64_t)used.tv_nsec;
}

/* A child of a child, which live until the pipe is closed. */
static pid_t start_family(int pipe_fds[2])
{
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		close(pipe_fds[1]);
		alarm(WAIT_MS / 1000);
		if (fork() == 0)
			alarm(WAIT_MS / 1000);
		while (read(pipe_fds[0], &byte, 1) > 0)
			;
		_exit(0);
	}
	assert_true(pid > 0);
	close(pipe_fds[0]);
	return pid;
}

static bool three_are_there(void *ctx)
{
	memset(&set, 0, sizeof(set));
	return procfs_add_tree(&set, getpid()) == 0 && set.count == 3;
}

static void descendants_belong_to_the_tree(void **state)
{
	int pipe_fds[2];
	pid_t child;

	assert_int_equal(set.count, 1);
	child = start_family(pipe_fds);
	assert_true(poll_until(three_are_there, NULL, WAIT_MS));
	assert_int_equal(set.pids[0], getpid());

	assert_int_equal(procfs_add_tree(&set, child), 0);
	assert_int_equal(set.count, 3); /* no one twice */
	close(pipe_fds[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void processes_that_are_gone_count_nothing(void **state)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(procfs_add_tree(&set, child), -ESRCH);

	set.pids[0] = child;
	set.seen[0].cpu_ns = 1000; /* as if it had been looked at before */
	assert_int_equal(procfs_used(&set).cpu_ns, 0);
	assert_int_equal(procfs_pss(&set), 0);
	assert_int_equal(procfs_sockets(child), 0);
}

/* 0.1 s of it, within what the clock of the process itself says. */
static void processor_time_is_that_of_the_process(void **state)
{
	uint64_t began, used, counted;

	procfs_used(&set);
	began = own_cpu_ns();
	while (own_cpu_ns() - began < 100000000)
		;
	used = own_cpu_ns() - began;
	counted = procfs_used(&set).cpu_ns;
	assert_in_range(counted, used - 30000000, used + 30000000);
}

/* One that uses 0.05 s of processor, says so, and lives until ends[1] is closed. */
static pid_t start_late_child(int ends[2])
{
	int said[2], until[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe(said), 0);
	assert_int_equal(pipe(until), 0);
	pid = fork();
	if (pid == 0) {
		close(until[1]);
		alarm(WAIT_MS / 1000);
		while (own_cpu_ns() < 50000000)
			;
		_exit(write(said[1], &byte, 1) == 1 && read(until[0], &byte, 1) == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	close(said[1]);
	close(until[0]);
	ends[0] = said[0];
	ends[1] = until[1];
	return pid;
}

static void processes_that_appear_later_count_from_their_birth(void **state)
{
	int ends[2], status;
	uint64_t counted, own;
	char byte;
	pid_t child;

	procfs_used(&set);
	own = own_cpu_ns();
	child = start_late_child(ends);
	assert_int_equal(read(ends[0], &byte, 1), 1);

	assert_int_equal(procfs_add_descendants(&set), 0);
	assert_int_equal(set.count, 2);
	assert_int_equal(set.pids[1], child);
	counted = procfs_used(&set).cpu_ns;
	assert_true(counted >= 50000000);

	/* And once only: what is left is what this process has used itself. */
	assert_int_equal(procfs_add_descendants(&set), 0);
	assert_int_equal(set.count, 2);
	assert_true(procfs_used(&set).cpu_ns < 40000000 + own_cpu_ns() - own);

	close(ends[0]);
	close(ends[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void tree_whose_root_is_gone_grows_no_more(void **state)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	set.pids[0] = child;
	assert_int_equal(procfs_add_descendants(&set), 0);
	assert_int_equal(set.count, 1);

	set.count = 0;
	assert_int_equal(procfs_add_descendants(&set), 0);
	assert_int_equal(set.count, 0);
}

static void touched_memory_is_in_the_pss(void **state)
{
	const size_t size = 8 << 20;
	uint64_t before = procfs_pss(&set);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(before > 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	memset(memory, 1, size);
	assert_in_range(procfs_pss(&set) - before, size - (1 << 20), size + (1 << 20));
	munmap(memory, size);
}

static void sockets_are_counted_and_files_are_not(void **state)
{
	uint64_t before = procfs_sockets(getpid());
	int pair[2], pipe_fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(procfs_sockets(getpid()), before + 2);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(pipe_fds[i]);
	}
	assert_int_equal(procfs_sockets(getpid()), before);
}

/* Whatever else runs: the processors were busy for at least as long as this process was. */
static void machine_is_at_least_as_busy_as_we_are(void **state)
{
	struct machine_usage before, after;
	uint64_t began = own_cpu_ns();
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	procfs_add_cpus(&set, &cpus);
	assert_true(CPU_COUNT(&cpus) > 0);
	assert_int_equal(procfs_machine(&cpus, &before), 0);
	while (own_cpu_ns() - began < 200000000)
		;
	assert_int_equal(procfs_machine(&cpus, &after), 0);
	assert_true(after.busy_ns + after.steal_ns >= before.busy_ns + before.steal_ns + 150000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(descendants_belong_to_the_tree, only_this_process),
		cmocka_unit_test_setup(processes_that_are_gone_count_nothing, only_this_process),
		cmocka_unit_test_setup(processor_time_is_that_of_the_process, only_this_process),
		cmocka_unit_test_setup(processes_that_appear_later_count_from_their_birth,
				       only_this_process),
		cmocka_unit_test_setup(tree_whose_root_is_gone_grows_no_more, only_this_process),
		cmocka_unit_test_setup(touched_memory_is_in_the_pss, only_this_process),
		cmocka_unit_test_setup(sockets_are_counted_and_files_are_not, only_this_process),
		cmocka_unit_test_setup(machine_is_at_least_as_busy_as_we_are, only_this_process),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
