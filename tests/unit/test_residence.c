#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/wait.h"
#include "tests/load/residence.h"

/* KiB that could be read and are not there, of the program and its libraries. */
static unsigned long absent_kib(void)
{
	unsigned long size = 0, resident, absent = 0;
	bool counts = false;
	char line[512], rights[5], *path;
	FILE *file = fopen("/proc/self/smaps", "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%*x-%*x %4s", rights) == 1) {
			path = strchr(line, '/');
			counts = rights[0] == 'r' && path &&
				 (strstr(path, ".so") || strstr(path, "test_residence"));
		}
		sscanf(line, "Size: %lu", &size);
		if (counts && sscanf(line, "Rss: %lu", &resident) == 1)
			absent += size - resident;
	}
	fclose(file);
	return absent;
}

/* A process that was forked has the pages of its parent's libraries only when it touches them. */
static void every_page_of_the_libraries_is_there(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		unsigned long before = absent_kib();

		residence_take();
		_exit(before == 0 ? 1 : absent_kib() > 0 ? 2 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_of_the_libraries_is_there),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
